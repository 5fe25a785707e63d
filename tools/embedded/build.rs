//! Builds the shipped tool components and embeds them.

fn main() {
    forerun_component_build::embed("forerun-tool-files", "FILES");
    forerun_component_build::embed("forerun-tool-http", "HTTP");
    forerun_component_build::embed("forerun-tool-javascript", "JAVASCRIPT");
    forerun_component_build::embed("forerun-tool-query", "QUERY");
    forerun_component_build::embed("forerun-tool-shell", "SHELL");
}
