//! Builds the guests and embeds them.

use forerun_component_build::Kind;

fn main() {
    forerun_component_build::embed("forerun-hostile-guest", "HOSTILE");
    forerun_component_build::embed_kind("forerun-test-command", Kind::Program, "COMMAND");
}
