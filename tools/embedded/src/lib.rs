//! The tool components that Forerun ships, as bytes. They are built by this crate's
//! build script from the packages beside it; nothing is downloaded or checked in. What
//! their tools say about themselves is known without running, or compiling, them.

pub use forerun_tool_kit::{Description, Speculation};

/// A component and the name that it is known by.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The name, such as `files`.
    pub name: &'static str,
    /// The WebAssembly component.
    pub wasm: &'static [u8],
    /// What its tools say about themselves, the same as the component itself says.
    pub list: fn() -> Vec<Description>,
}

/// Read, write, edit, list, find, search, delete and move files of the workspace.
pub const FILES: Component = Component {
    name: "files",
    wasm: include!(concat!(env!("OUT_DIR"), "/files.rs")),
    list: forerun_tool_files::list,
};

/// Take values out of JSON.
pub const QUERY: Component = Component {
    name: "query",
    wasm: include!(concat!(env!("OUT_DIR"), "/query.rs")),
    list: forerun_tool_query::list,
};

/// Read from the web, and send requests.
pub const HTTP: Component = Component {
    name: "http",
    wasm: include!(concat!(env!("OUT_DIR"), "/http.rs")),
    list: forerun_tool_http::list,
};

/// Run JavaScript over files.
pub const JAVASCRIPT: Component = Component {
    name: "javascript",
    wasm: include!(concat!(env!("OUT_DIR"), "/javascript.rs")),
    list: forerun_tool_javascript::list,
};

/// Run bash scripts over files.
pub const SHELL: Component = Component {
    name: "shell",
    wasm: include!(concat!(env!("OUT_DIR"), "/shell.rs")),
    list: forerun_tool_shell::list,
};

/// Everything that is shipped.
pub const COMPONENTS: &[Component] = &[FILES, HTTP, JAVASCRIPT, QUERY, SHELL];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_is_a_component() {
        for component in COMPONENTS {
            assert_eq!(
                component.wasm.get(..8),
                Some(&b"\0asm\x0d\0\x01\0"[..]),
                "{} is a component, not a core module",
                component.name
            );
        }
    }
}
