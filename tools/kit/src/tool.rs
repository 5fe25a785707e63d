//! Tools, and the call of one of several by its name.

use crate::{Annotations, Description, Error, Places, Speculation, schema};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A tool. The type is its arguments, a value a call.
///
/// Have `serde` refuse unknown fields; the schema says so in any case.
pub trait Tool: DeserializeOwned + JsonSchema {
    /// What calls use: lower-case letters, digits and `_`, at most 64.
    const NAME: &'static str;
    /// A short name for people.
    const TITLE: &'static str;
    /// Hints about its effects.
    const ANNOTATIONS: Annotations;
    /// Whether the same arguments on the same files always give the same.
    const DETERMINISTIC: bool = true;
    /// How it may run before its verdict.
    const SPECULATION: Speculation = if Self::ANNOTATIONS.read_only {
        Speculation::Pure
    } else {
        Speculation::Contained
    };
    /// The result for a program; `()` if there is none.
    type Structured: Serialize + JsonSchema;

    /// What it does, when to use it, one example, its limits: written for a model.
    /// Unless given, the type's doc comment.
    fn description() -> String {
        schema::description::<Self>()
    }

    /// Does it.
    ///
    /// # Errors
    /// Why not, in words that help an agent to do better. Changes made so far are kept.
    fn call(self, places: &Places) -> Result<Output<Self::Structured>, Error>;
}

/// What a call returned.
#[derive(Clone, Debug)]
pub struct Output<S = ()> {
    /// The result for a reader, in order.
    pub content: Vec<Content>,
    /// The result for a program.
    pub structured: S,
}

/// One piece of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Anything else.
    Blob {
        /// What it is, such as `image/png`.
        mime_type: String,
        /// The bytes.
        data: Vec<u8>,
    },
}

/// What a call returned, whichever tool it was.
pub type Answer = Output<Option<Value>>;

impl<S> Output<S> {
    /// A text, and the same for a program.
    pub fn new(text: impl Into<String>, structured: S) -> Output<S> {
        Output {
            content: vec![Content::Text(text.into())],
            structured,
        }
    }

    /// All text of the result.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|content| match content {
                Content::Text(text) => Some(text.as_str()),
                Content::Blob { .. } => None,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl<T: Into<String>> From<T> for Output {
    fn from(text: T) -> Output {
        Output::new(text, ())
    }
}

/// A tool without its type, as an element of a list.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    describe: fn() -> Description,
    call: fn(&Places, &str) -> Result<Answer, Error>,
}

impl Entry {
    /// The entry of a tool.
    pub const fn of<T: Tool>() -> Entry {
        Entry {
            name: T::NAME,
            describe: describe::<T>,
            call: call_one::<T>,
        }
    }
}

/// What the tools say about themselves, in the order of the list.
pub fn list(tools: &[Entry]) -> Vec<Description> {
    tools.iter().map(|tool| (tool.describe)()).collect()
}

/// Calls one of the tools. `arguments` is JSON text.
///
/// # Errors
/// What the tool could not do, or why it could not be called.
pub fn call(
    tools: &[Entry],
    places: &Places,
    name: &str,
    arguments: &str,
) -> Result<Answer, Error> {
    let tool = tools
        .iter()
        .find(|tool| tool.name == name)
        .ok_or_else(|| Error::UnknownTool(name.to_owned()))?;
    (tool.call)(places, arguments)
}

fn describe<T: Tool>() -> Description {
    Description {
        name: T::NAME,
        title: T::TITLE,
        description: T::description(),
        input_schema: schema::input::<T>(),
        output_schema: schema::output::<T::Structured>(),
        annotations: T::ANNOTATIONS,
        deterministic: T::DETERMINISTIC,
        speculation: T::SPECULATION,
    }
}

fn call_one<T: Tool>(places: &Places, arguments: &str) -> Result<Answer, Error> {
    let call: T =
        serde_json::from_str(arguments).map_err(|error| Error::Arguments(error.to_string()))?;
    let output = call.call(places)?;
    let structured = serde_json::to_value(output.structured)
        .map_err(|error| Error::Refused(format!("the result is no JSON: {error}")))?;
    Ok(Output {
        content: output.content,
        structured: (!structured.is_null()).then_some(structured),
    })
}

/// Makes a crate a component that offers these tools, and gives it `list`, what they say
/// about themselves, and `TOOLS`, which [`call`] can call them by. Use it once, in the
/// root of a `cdylib`.
#[macro_export]
macro_rules! export {
    ($($tool:ty),+ $(,)?) => {
        /// The tools of this component.
        pub const TOOLS: &[$crate::Entry] = &[$($crate::Entry::of::<$tool>()),+];

        /// What the tools of this component say about themselves.
        pub fn list() -> Vec<$crate::Description> {
            $crate::list(TOOLS)
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the canonical ABI")]
        mod exported {
            struct Exported;

            impl $crate::component::Tools for Exported {
                const TOOLS: &'static [$crate::Entry] = super::TOOLS;
            }

            $crate::component::bindings::export!(
                Exported with_types_in $crate::component::bindings
            );
        }
    };
}
