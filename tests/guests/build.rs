//! Builds the guests and embeds them.
<<<<<<< HEAD

use forerun_component_build::Kind;

fn main() {
    forerun_component_build::embed("forerun-hostile-guest", "HOSTILE");
    forerun_component_build::embed_kind("forerun-test-command", Kind::Program, "COMMAND");
=======

fn main() {
    forerun_component_build::embed("forerun-hostile-guest", "HOSTILE");
    forerun_component_build::embed("forerun-probe-guest", "PROBE");
>>>>>>> 70a64ed (sandbox: 534 cases of wasi:filesystem against stock wasmtime-wasi, and what they found)
}
