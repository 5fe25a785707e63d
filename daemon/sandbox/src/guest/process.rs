//! What a guest learns about where it runs: nothing but its working directory.

use super::stdio::Sink;
use crate::fs::WORKSPACE;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::cli::{environment, stderr, stdout};
use wasmtime_wasi_io::streams::DynOutputStream;

/// No variables, no arguments.
pub(crate) struct Environment;

pub(crate) struct HasEnvironment;

impl HasData for HasEnvironment {
    type Data<'a> = Environment;
}

impl environment::Host for Environment {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(Some(WORKSPACE.to_owned()))
    }
}

pub(crate) struct StdioView<'a> {
    pub(crate) stdout: &'a Sink,
    pub(crate) stderr: &'a Sink,
    pub(crate) table: &'a mut ResourceTable,
}

pub(crate) struct HasStdio;

impl HasData for HasStdio {
    type Data<'a> = StdioView<'a>;
}

impl stdout::Host for StdioView<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(self
            .table
            .push(Box::new(self.stdout.clone()) as DynOutputStream)?)
    }
}

impl stderr::Host for StdioView<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        Ok(self
            .table
            .push(Box::new(self.stderr.clone()) as DynOutputStream)?)
    }
}
