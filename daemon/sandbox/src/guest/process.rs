//! A guest as a process: its arguments, its environment, its streams.
//!
//! A tool has none of them: what it is told are the arguments of its call. A command has
//! what it was started with, and nothing of the daemon's own.

use super::pipe::{Inbox, PipeWriter};
use super::stdio::Sink;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::cli::{environment, stderr, stdin, stdout};
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

/// What a guest is started with.
pub(crate) struct Process {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<String>,
    pub(crate) stdin: Inbox,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// Where a guest prints to.
pub(crate) enum Output {
    /// It is kept, up to a limit.
    Kept(Sink),
    /// It goes elsewhere.
    Pipe(PipeWriter),
}

impl Output {
    /// What was kept, as text.
    pub(crate) fn text(&self) -> String {
        match self {
            Output::Kept(sink) => sink.text(),
            Output::Pipe(_) => String::new(),
        }
    }

    fn stream(&self) -> DynOutputStream {
        match self {
            Output::Kept(sink) => Box::new(sink.clone()),
            Output::Pipe(pipe) => Box::new(pipe.clone()),
        }
    }
}

impl Process {
    /// No arguments, no variables, nothing to read; what is printed is kept.
    pub(crate) fn bare(directory: &str, output_bytes: usize) -> Process {
        Process {
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: Some(directory.to_owned()),
            stdin: Inbox::of(Bytes::new()),
            stdout: Output::Kept(Sink::new(output_bytes)),
            stderr: Output::Kept(Sink::new(output_bytes)),
        }
    }
}

pub(crate) struct ProcessView<'a> {
    pub(crate) process: &'a mut Process,
    pub(crate) table: &'a mut ResourceTable,
}

pub(crate) struct HasProcess;

impl HasData for HasProcess {
    type Data<'a> = ProcessView<'a>;
}

impl environment::Host for ProcessView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.process.environment.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.process.arguments.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.process.directory.clone())
    }
}

impl stdin::Host for ProcessView<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(self.process.stdin.clone());
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for ProcessView<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(self.table.push(self.process.stdout.stream())?)
    }
}

impl stderr::Host for ProcessView<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(self.table.push(self.process.stderr.stream())?)
    }
}
