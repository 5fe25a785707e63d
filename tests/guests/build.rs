//! Builds the hostile guest and embeds it.

fn main() {
    forerun_component_build::embed("forerun-hostile-guest", "HOSTILE");
}
