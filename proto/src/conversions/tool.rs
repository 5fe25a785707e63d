//! Tools as agents and people see them.

use super::{ConversionError, enumeration, list, same_variants, text};
use crate::v1;
use forerun_types::{Annotations, Digest, Speculation, ToolDescription};

same_variants!(Speculation, v1::Speculation: Never Contained Pure);

impl From<Annotations> for v1::Annotations {
    fn from(annotations: Annotations) -> v1::Annotations {
        v1::Annotations {
            read_only: annotations.read_only,
            destructive: annotations.destructive,
            idempotent: annotations.idempotent,
            open_world: annotations.open_world,
        }
    }
}

impl From<v1::Annotations> for Annotations {
    fn from(annotations: v1::Annotations) -> Annotations {
        Annotations {
            read_only: annotations.read_only,
            destructive: annotations.destructive,
            idempotent: annotations.idempotent,
            open_world: annotations.open_world,
        }
    }
}

impl From<ToolDescription> for v1::ToolDescription {
    fn from(tool: ToolDescription) -> v1::ToolDescription {
        v1::ToolDescription {
            name: tool.name,
            title: tool.title,
            description: tool.description,
            input_schema: tool.input_schema.to_string(),
            output_schema: tool.output_schema.map(|schema| schema.to_string()),
            annotations: Some(tool.annotations.into()),
            deterministic: tool.deterministic,
            speculation: v1::Speculation::from(tool.speculation).into(),
            component: tool.component.to_string(),
            client: tool.client,
        }
    }
}

impl TryFrom<v1::ToolDescription> for ToolDescription {
    type Error = ConversionError;
    fn try_from(tool: v1::ToolDescription) -> Result<ToolDescription, ConversionError> {
        Ok(ToolDescription {
            name: tool.name,
            title: tool.title,
            description: tool.description,
            input_schema: text("input_schema", &tool.input_schema)?,
            output_schema: tool
                .output_schema
                .map(|schema| text("output_schema", &schema))
                .transpose()?,
            annotations: tool.annotations.unwrap_or_default().into(),
            deterministic: tool.deterministic,
            speculation: enumeration::<v1::Speculation, _>("speculation", tool.speculation)?,
            component: text("component", &tool.component)?,
            client: tool.client,
        })
    }
}

impl v1::ToolSet {
    /// The wire form of a tool set; its digest is [`ToolDescription::set_digest`].
    pub fn new(digest: Digest, tools: impl IntoIterator<Item = ToolDescription>) -> v1::ToolSet {
        v1::ToolSet {
            digest: digest.to_string(),
            tools: tools.into_iter().map(Into::into).collect(),
        }
    }

    /// The digest and the tools.
    ///
    /// # Errors
    /// If a field is not valid, or the digest is not that of the tools.
    pub fn into_tools(self) -> Result<(Digest, Vec<ToolDescription>), ConversionError> {
        let digest: Digest = text("digest", &self.digest)?;
        let tools: Vec<ToolDescription> = list("tools", self.tools)?;
        let found = ToolDescription::set_digest(&tools);
        if found != digest {
            return Err(ConversionError::new(
                "digest",
                format_args!("is {}, but the tools' is {}", digest.short(), found.short()),
            ));
        }
        Ok((digest, tools))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(speculation: Speculation) -> ToolDescription {
        ToolDescription {
            name: "read_file".to_owned(),
            title: "Read a file".to_owned(),
            description: "Reads.".to_owned(),
            input_schema: serde_json::json!({"type": "object", "required": ["path"]}),
            output_schema: Some(serde_json::json!({"type": "string"})),
            annotations: Annotations {
                read_only: true,
                destructive: false,
                idempotent: true,
                open_world: false,
            },
            deterministic: true,
            speculation,
            component: Digest::of("component"),
            client: false,
        }
    }

    #[test]
    fn a_tool_comes_back_unchanged_and_keeps_the_digest_of_its_set() {
        for speculation in [
            Speculation::Never,
            Speculation::Contained,
            Speculation::Pure,
        ] {
            let tools = vec![tool(speculation)];
            let digest = ToolDescription::set_digest(&tools);
            let wire = v1::ToolSet::new(digest, tools.clone());
            assert_eq!(wire.into_tools(), Ok((digest, tools)));
        }
    }

    #[test]
    fn a_tool_set_that_is_not_what_its_digest_says_is_refused() {
        let wire = v1::ToolSet::new(Digest::of("other"), [tool(Speculation::Pure)]);
        assert_eq!(wire.into_tools().expect_err("other").path(), "digest");
    }

    #[test]
    fn a_schema_that_is_no_json_names_its_field() {
        let mut wire = v1::ToolDescription::from(tool(Speculation::Pure));
        wire.input_schema = "{".to_owned();
        let error = ToolDescription::try_from(wire).expect_err("no JSON");
        assert_eq!(error.path(), "input_schema");
    }
}
