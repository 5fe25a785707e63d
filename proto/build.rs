//! Generates the Rust types of `forerun.v1` and its descriptor set. The protobuf
//! compiler is a library (protox), so nothing has to be installed and nothing that is
//! generated is committed.

use prost::Message as _;
use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 8] = [
    "forerun/v1/action.proto",
    "forerun/v1/common.proto",
    "forerun/v1/event.proto",
    "forerun/v1/session.proto",
    "forerun/v1/agent.proto",
    "forerun/v1/daemon.proto",
    "forerun/v1/tool.proto",
    "forerun/v1/policy.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=forerun");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("forerun.v1.descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        // One of them a stream, and the others small.
        .boxed("forerun.v1.ToolServiceExecRequest.message.start")
        .compile_fds(descriptors)?;
    Ok(())
}
