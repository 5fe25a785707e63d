//! Looks, at every start, whether a guest is given what it should be and no more: a
//! mistake in how interfaces are linked must not wait for a hostile guest to be found.

use crate::config::StartError;
use crate::fs::{TMP, Volumes, WORKSPACE};
use crate::instance;
use crate::sandboxes::Sandboxes;
use std::sync::Arc;

/// The tool whose component is asked; without it nothing is checked.
const ASKED: &str = "read_file";
/// What the component is asked; it is in no list of tools.
const PREOPENS: &str = "forerun:preopens";

pub(crate) fn check(sandboxes: &Sandboxes) -> Result<(), StartError> {
    let Some(component) = sandboxes.toolbox().component(ASKED) else {
        return Ok(());
    };
    let component = component.get_blocking().map_err(StartError::SelfCheck)?;
    let machine = Arc::clone(sandboxes.machine());
    let scratch = sandboxes.scratch();
    let volumes = Volumes::new(scratch.branch(), scratch.branch(), instance::allow_all());
    let answer = sandboxes
        .executors()
        .block_on(async move { instance::call(&machine, &component, volumes, PREOPENS).await })
        .unwrap_or_else(|| Err("the sandbox thread is gone".into()))
        .map_err(StartError::SelfCheck)?;
    let mut expected = [TMP, WORKSPACE];
    expected.sort_unstable();
    if answer.lines().eq(expected) {
        Ok(())
    } else {
        Err(StartError::SelfCheck(format!(
            "a guest is given the directories {answer:?} instead of {expected:?}"
        )))
    }
}
