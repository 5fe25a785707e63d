//! The tools that actions can name, and how components become tools.

mod adapt;
mod lazy;
mod manifest;
mod names;
mod schema;

use crate::cache::Cache;
use crate::engine::Machine;
use crate::executor::Executors;
use crate::guest::exports::forerun::tool::tools as wit;
use crate::guest::{CommandPre, State, ToolPre};
use crate::instance;
use crate::run::Program;
use adapt::Kind;
use forerun_types::{
    ASK_USER, Action, Annotations, Digest, Hasher, Observation, ObservationStatus, Speculation,
    TERMINATE, ToolDescription,
};
pub(crate) use lazy::Lazy;
pub(crate) use manifest::Manifest;
use schema::Schema;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a tool's name.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a tool's description or of one of its schemas; stops a component from
/// filling every agent's context.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Tools of one component.
const TOOLS_MAX: usize = 256;
/// How WebAssembly begins.
const WASM: &[u8] = b"\0asm";

/// The tools that actions can name. Never changes; adding a component makes another.
#[derive(Clone, Default)]
pub struct Toolbox {
    /// By name.
    tools: BTreeMap<String, Arc<Tool>>,
    descriptions: Vec<ToolDescription>,
    digest: Option<Digest>,
}

/// A tool that can be run.
pub(crate) struct Tool {
    pub(crate) description: ToolDescription,
    pub(crate) body: Body,
    schema: Schema,
}

/// What runs when a tool is called.
pub(crate) enum Body {
    /// A component that knows its tools.
    Component(Arc<Lazy>),
    /// A program, and how a call becomes its arguments.
    Command(Program, Box<Manifest>),
    /// Nothing here: a client executes it.
    Client,
}

/// Why a component's tools could not be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not a component, or one that imports what is not there.
    #[error("{0}")]
    Component(String),
    /// It could not say which tools it has.
    #[error("the component does not list its tools: {0}")]
    List(String),
    /// A tool whose name cannot be used.
    #[error("the tool name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The manifest of a program is not valid.
    #[error("the manifest is not valid: {0}")]
    Manifest(String),
    /// A tool whose schema is none.
    #[error("the {which} schema of {tool} is not valid: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// `input` or `output`.
        which: &'static str,
        /// Why not.
        reason: String,
    },
    /// Too much of something.
    #[error("{0}")]
    TooLarge(String),
}

impl Toolbox {
    /// All tools, ordered by name.
    pub fn tools(&self) -> &[ToolDescription] {
        &self.descriptions
    }

    /// A tool by its name.
    pub fn get(&self, name: &str) -> Option<&ToolDescription> {
        self.tools.get(name).map(|tool| &tool.description)
    }

    /// Digest of all tools, which is part of every prefix.
    pub fn digest(&self) -> Digest {
        self.digest
            .unwrap_or_else(|| ToolDescription::set_digest(&self.descriptions))
    }

    /// Checks that an action can be started: that its tool exists, and that its
    /// arguments are valid by the tool's schema.
    ///
    /// # Errors
    /// The observation that the action has instead.
    pub fn check(&self, action: &Action) -> Result<(), Box<Observation>> {
        self.prepare(&action.tool, &action.arguments.to_value())
            .map(drop)
            .map_err(Box::new)
    }

    /// Compiles what no call has needed yet. Blocks meanwhile.
    pub fn compile_all(&self) {
        for tool in self.tools.values() {
            if let Body::Component(component) = &tool.body
                && let Err(error) = component.get_blocking()
            {
                tracing::error!(
                    tool = tool.description.name,
                    error,
                    "a tool can not be compiled"
                );
            }
        }
    }

    /// The component that implements a tool.
    pub(crate) fn component(&self, name: &str) -> Option<Arc<Lazy>> {
        match &self.tools.get(name)?.body {
            Body::Component(component) => Some(Arc::clone(component)),
            Body::Command(..) | Body::Client => None,
        }
    }

    /// Finds the tool and checks the arguments against its schema.
    ///
    /// # Errors
    /// The observation that says what is wrong.
    pub(crate) fn prepare(
        &self,
        name: &str,
        arguments: &serde_json::Value,
    ) -> Result<Arc<Tool>, Observation> {
        let invalid = |text: String| Observation::new(ObservationStatus::Invalid, text);
        let tool = self
            .tools
            .get(name)
            .ok_or_else(|| invalid(names::unknown(name, self.tools.keys().map(String::as_str))))?;
        tool.schema.check(arguments).map_err(|problems| {
            invalid(format!("the arguments of {name} are not valid: {problems}"))
        })?;
        Ok(Arc::clone(tool))
    }

    /// These and tools that a client executes: known, checked and described as all are, but
    /// never run here.
    pub(crate) fn with_client(&self, tools: &[ToolDescription]) -> Result<Toolbox, LoadError> {
        let tools = tools.iter().cloned();
        let tools = tools.map(|tool| Tool::new(tool, Body::Client));
        self.with(tools.collect::<Result<_, _>>()?)
    }

    fn with(&self, tools: Vec<Tool>) -> Result<Toolbox, LoadError> {
        let mut all = self.tools.clone();
        for tool in tools {
            let name = tool.description.name.clone();
            if all.insert(name.clone(), Arc::new(tool)).is_some() {
                return Err(LoadError::Name {
                    name,
                    reason: "is taken by another tool",
                });
            }
        }
        let descriptions: Vec<_> = all.values().map(|tool| tool.description.clone()).collect();
        Ok(Toolbox {
            digest: Some(ToolDescription::set_digest(&descriptions)),
            descriptions,
            tools: all,
        })
    }
}

/// What loading a component needs.
pub(crate) struct Loader<'a> {
    pub(crate) machine: &'a Arc<Machine>,
    pub(crate) cache: &'a Arc<Cache>,
    pub(crate) executors: &'a Executors,
}

impl Loader<'_> {
    /// `toolbox` and the tools of one more component.
    pub(crate) fn add(
        &self,
        toolbox: &Toolbox,
        component: &str,
        wasm: &[u8],
    ) -> Result<Toolbox, LoadError> {
        let pre = compile(self.machine, self.cache, wasm)?;
        let (machine, listed) = (Arc::clone(self.machine), Arc::clone(&pre));
        let tools = self
            .executors
            .block_on(async move { instance::list(&machine, &listed).await })
            .unwrap_or_else(|| Err("the sandbox thread is gone".into()))
            .map_err(LoadError::List)?;
        if tools.len() > TOOLS_MAX {
            return Err(LoadError::TooLarge(format!(
                "{} tools in one component; at most {TOOLS_MAX} are accepted",
                tools.len()
            )));
        }
        let digest = Digest::of(wasm);
        let compiled = Arc::new(Lazy::now(pre));
        let tools: Vec<Tool> = tools
            .into_iter()
            .map(|tool| describe(tool, digest, &compiled))
            .collect::<Result<_, _>>()?;
        tracing::debug!(component, tools = tools.len(), "tools loaded");
        toolbox.with(tools)
    }
}

/// Compiles a component with tools, or a module for WASI 0.1 that carries their interface,
/// or finds it compiled.
fn compile(
    machine: &Machine,
    cache: &Cache,
    wasm: &[u8],
) -> Result<Arc<ToolPre<State>>, LoadError> {
    let failed = |error: wasmtime::Error| LoadError::Component(format!("{error:#}"));
    let component = adapt::component(wasm, Kind::Tools).map_err(LoadError::Component)?;
    let compiled = cache.compile(&machine.engine, &component).map_err(failed)?;
    let pre = machine.linker.instantiate_pre(&compiled).map_err(failed)?;
    Ok(Arc::new(ToolPre::new(pre).map_err(failed)?))
}

impl Loader<'_> {
    /// `toolbox` and the tools of a shipped component, which is compiled when one of them
    /// is called.
    pub(crate) fn add_shipped(
        &self,
        toolbox: &Toolbox,
        shipped: &forerun_tools::Component,
    ) -> Result<Toolbox, LoadError> {
        let component = Arc::new(Lazy::later(shipped.wasm, self.machine, self.cache));
        let digest = Digest::of(shipped.wasm);
        let tools = (shipped.list)().into_iter().map(|tool| {
            let description = of_shipped(tool, digest);
            Tool::new(description, Body::Component(Arc::clone(&component)))
        });
        toolbox.with(tools.collect::<Result<_, _>>()?)
    }

    /// `toolbox` and a program, as the manifest says.
    pub(crate) fn add_program(
        &self,
        toolbox: &Toolbox,
        wasm: &[u8],
        manifest: &str,
    ) -> Result<Toolbox, LoadError> {
        let parsed = Manifest::parse(manifest).map_err(LoadError::Manifest)?;
        let program = program(self.machine, self.cache, wasm)?;
        let digest = Hasher::new("forerun program tool v1")
            .digest(&Digest::of(wasm))
            .field(manifest)
            .finish();
        let description = ToolDescription {
            name: parsed.name.clone(),
            title: parsed.title.clone(),
            description: parsed.description.clone(),
            input_schema: parsed.input_schema.clone(),
            output_schema: None,
            annotations: Annotations {
                read_only: parsed.read_only,
                destructive: parsed.destructive,
                idempotent: parsed.idempotent,
                open_world: parsed.open_world,
            },
            deterministic: parsed.deterministic,
            speculation: match parsed.speculation {
                manifest::Speculation::Never => Speculation::Never,
                manifest::Speculation::Contained => Speculation::Contained,
                manifest::Speculation::Pure => Speculation::Pure,
            },
            component: digest,
            client: false,
        };
        let body = Body::Command(program, Box::new(parsed));
        toolbox.with(vec![Tool::new(description, body)?])
    }
}

impl Tool {
    /// # Errors
    /// If it has a name, a text or a schema that no tool may have.
    fn new(description: ToolDescription, body: Body) -> Result<Tool, LoadError> {
        check_name(&description.name)?;
        let schemas = [
            Some(&description.input_schema),
            description.output_schema.as_ref(),
        ];
        let schemas = schemas
            .into_iter()
            .flatten()
            .map(|schema| schema.to_string().len());
        let texts = [description.title.len(), description.description.len()];
        if texts
            .into_iter()
            .chain(schemas)
            .any(|len| len > TEXT_BYTES_MAX)
        {
            return Err(LoadError::TooLarge(format!(
                "a text of {} is longer than {} KiB",
                description.name,
                TEXT_BYTES_MAX >> 10
            )));
        }
        let schema = Schema::new(&description.input_schema);
        let schema = schema.map_err(|reason| LoadError::Schema {
            tool: description.name.clone(),
            which: "input",
            reason,
        })?;
        Ok(Tool {
            description,
            body,
            schema,
        })
    }
}

/// Compiles a WASI command, of either version.
pub(crate) fn program(machine: &Machine, cache: &Cache, wasm: &[u8]) -> Result<Program, LoadError> {
    let failed = |error: wasmtime::Error| LoadError::Component(format!("{error:#}"));
    if !wasm.starts_with(WASM) {
        let text = "it is no WebAssembly component".to_owned();
        return Err(LoadError::Component(text));
    }
    let component = adapt::component(wasm, Kind::Program).map_err(LoadError::Component)?;
    let compiled = cache.compile(&machine.engine, &component).map_err(failed)?;
    let pre = machine.linker.instantiate_pre(&compiled).map_err(failed)?;
    let pre = Arc::new(CommandPre::new(pre).map_err(failed)?);
    Ok(Program { pre })
}

fn of_shipped(tool: forerun_tools::Description, component: Digest) -> ToolDescription {
    use forerun_tools::Speculation as Shipped;
    ToolDescription {
        name: tool.name.to_owned(),
        title: tool.title.to_owned(),
        description: tool.description,
        input_schema: tool.input_schema,
        output_schema: tool.output_schema,
        annotations: Annotations {
            read_only: tool.annotations.read_only,
            destructive: tool.annotations.destructive,
            idempotent: tool.annotations.idempotent,
            open_world: tool.annotations.open_world,
        },
        deterministic: tool.deterministic,
        speculation: match tool.speculation {
            Shipped::Never => Speculation::Never,
            Shipped::Contained => Speculation::Contained,
            Shipped::Pure => Speculation::Pure,
        },
        component,
        client: false,
    }
}

fn describe(tool: wit::Tool, component: Digest, body: &Arc<Lazy>) -> Result<Tool, LoadError> {
    let parse = |which: &'static str, text: &str| {
        serde_json::from_str(text).map_err(|error| LoadError::Schema {
            tool: tool.name.clone(),
            which,
            reason: error.to_string(),
        })
    };
    let input_schema = parse("input", &tool.input_schema)?;
    let output_schema = tool
        .output_schema
        .as_deref()
        .map(|text| parse("output", text))
        .transpose()?;
    let description = ToolDescription {
        name: tool.name,
        title: tool.title,
        description: tool.description,
        input_schema,
        output_schema,
        annotations: Annotations {
            read_only: tool.annotations.read_only,
            destructive: tool.annotations.destructive,
            idempotent: tool.annotations.idempotent,
            open_world: tool.annotations.open_world,
        },
        deterministic: tool.deterministic,
        speculation: match tool.speculation {
            wit::Speculation::Never => Speculation::Never,
            wit::Speculation::Contained => Speculation::Contained,
            wit::Speculation::Pure => Speculation::Pure,
        },
        component,
        client: false,
    };
    Tool::new(description, Body::Component(Arc::clone(body)))
}

fn check_name(name: &str) -> Result<(), LoadError> {
    let reason = if name.is_empty() || name.len() > NAME_BYTES_MAX {
        "must have 1 to 64 characters"
    } else if !name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    {
        "may have lower-case letters, digits and _ only"
    } else if matches!(name, TERMINATE | ASK_USER) {
        "is reserved"
    } else {
        return Ok(());
    };
    Err(LoadError::Name {
        name: name.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_confuse_are_refused() {
        for name in [
            "",
            "Read",
            "read file",
            "read-file",
            TERMINATE,
            ASK_USER,
            &"a".repeat(65),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("read_file2").expect("an ordinary name");
    }
}
