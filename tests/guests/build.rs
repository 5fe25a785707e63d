//! Builds the guests, and the tool kit's example, and embeds them.

use forerun_component_build::{Kind, embed, embed_kind};

fn main() {
    embed("forerun-hostile-guest", "HOSTILE");
    embed("forerun-probe-guest", "PROBE");
    embed("forerun-tool-example", "EXAMPLE");
    embed_kind("forerun-test-command", Kind::Program, "COMMAND");
}
