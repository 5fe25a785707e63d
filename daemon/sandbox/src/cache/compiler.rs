//! Compiling in a process of its own: what makes a compiler take for ever, or the whole
//! memory, ends that process and nothing else. Nothing else could end it: a compiler does
//! not yield.
//!
//! The process is this program again, told by its arguments; it limits itself before it
//! reads anything, gets the component on stdin and gives the machine code on stdout.

use crate::engine;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use wasmtime::Engine;

/// CPU time that a component may take to compile, over all threads; the largest shipped one
/// takes eleven seconds in a dev build.
pub const COMPILE_CPU_SECONDS: u64 = 300;
/// Memory that the compiler may use.
pub const COMPILE_BYTES: u64 = 4 << 30;
/// Bytes of its complaint that are passed on.
const COMPLAINT_BYTES_MAX: u64 = 16 << 10;
/// Begins a complaint, so that it is told from what a crash prints.
const COMPLAINT: &str = "component: ";

/// Compiles a component in a process of its own.
pub(super) fn compile(program: &[std::ffi::OsString], wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let [path, arguments @ ..] = program else {
        return Err(wasmtime::format_err!("no compiler is named"));
    };
    let path = Path::new(path);
    let failed = |error: io::Error| {
        wasmtime::format_err!("the compiler {} can not be run: {error}", path.display())
    };
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut code = Vec::new();
    let mut complaint = String::new();
    std::thread::scope(|scope| {
        // Each in a thread of its own: the child may stop reading, and complain.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(wasm)));
        scope.spawn(|| {
            stderr.map(|stderr| {
                let mut bytes = Vec::new();
                let read = stderr.take(COMPLAINT_BYTES_MAX).read_to_end(&mut bytes);
                complaint = String::from_utf8_lossy(&bytes).into_owned();
                read
            })
        });
        child
            .stdout
            .take()
            .map(|mut stdout| stdout.read_to_end(&mut code))
    });
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(code);
    }
    Err(match complaint.split_once(COMPLAINT) {
        Some((_, complaint)) => wasmtime::format_err!("{}", complaint.trim_end()),
        None => wasmtime::format_err!(
            "it does not compile within {COMPILE_CPU_SECONDS} s of CPU time and {} GiB of memory ({status})",
            COMPILE_BYTES >> 30
        ),
    })
}

/// The other side: compiles what `input` has. What is wrong with it is said to
/// `complaints`. The process has limited itself to [`COMPILE_CPU_SECONDS`] and
/// [`COMPILE_BYTES`] of data before.
///
/// # Errors
/// If it does not compile, or can not be read or written.
pub fn compile_process(
    mut input: impl Read,
    mut output: impl Write,
    mut complaints: impl Write,
) -> io::Result<()> {
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    let compiled = Engine::new(&engine::engine_settings(1))
        .and_then(|engine| engine.precompile_component(&wasm));
    match compiled {
        Ok(code) => output.write_all(&code),
        Err(error) => {
            write!(complaints, "{COMPLAINT}{error:#}")?;
            Err(io::Error::other("it does not compile"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> wasmtime::Result<Vec<u8>> {
        // More than a pipe holds, so that who does not read it would be waited for.
        compile(
            &["/bin/sh".into(), "-c".into(), script.into()],
            &[7; 1 << 20],
        )
    }

    #[test]
    fn what_the_process_gives_or_says_is_passed_on() {
        assert_eq!(shell("cat").expect("gives it back"), [7; 1 << 20]);
        let error = shell("echo 'component: no such type' >&2; exit 65").expect_err("complains");
        assert_eq!(error.to_string(), "no such type");
    }

    #[test]
    fn a_process_that_was_ended_names_the_limits() {
        for script in [
            "kill -XCPU $$",
            "kill -ABRT $$",
            "echo out of memory >&2; exit 70",
        ] {
            let error = shell(script).expect_err("ended").to_string();
            assert!(error.contains("4 GiB of memory"), "{error}");
        }
        let error = compile(&["/nonexistent/compiler".into()], b"").expect_err("not there");
        assert!(error.to_string().contains("can not be run"), "{error}");
    }

    #[test]
    fn the_other_side_makes_code_or_says_why_not() {
        let (mut code, mut complaints) = (Vec::new(), Vec::new());
        let empty = &b"\0asm\x0d\0\x01\0"[..];
        compile_process(empty, &mut code, &mut complaints).expect("a component");
        assert!(!code.is_empty() && complaints.is_empty());
        compile_process(&b"\0asm\x0d\0\x01\0\xff"[..], &mut code, &mut complaints)
            .expect_err("malformed");
        assert!(complaints.starts_with(COMPLAINT.as_bytes()));
    }
}
