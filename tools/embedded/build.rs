//! Builds the shipped tool components and embeds them.

fn main() {
    forerun_component_build::embed("forerun-tool-files", "FILES");
}
