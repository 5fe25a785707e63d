//! What was learned of each workspace from the sessions in it: which call comes next, and how
//! long each tool takes. Kept in the state directory, for sessions to come.
//!
//! Workspaces know nothing of each other: what is predicted in one contains arguments of
//! earlier calls there, and whoever watches a session sees its predictions.
//!
//! **Invariant:** what is lost, or can not be read, is learned again; no session fails by it.

use crate::kept;
use forerun_history::{Predictor, Run, STATE_BYTES_MAX};
use forerun_types::{Action, Digest};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workspaces whose knowledge is in memory at once; stops a daemon that lives long from keeping
/// all that it ever saw. Those that no session uses go first.
const WORKSPACES_MAX: usize = 32;
/// Tools of a workspace whose time is known; stops clients that invent tools.
const TOOLS_MAX: usize = 512;
/// The least time that a prediction must promise to save, its chance considered. What running
/// ahead costs in events, sandboxes and attention is of this order, so tools that take less are
/// left alone.
const GAIN_MIN: Duration = Duration::from_millis(5);
/// The least chance that is worth a try, however slow the tool is.
const CHANCE_MIN: f64 = 0.1;
/// The newest executions of a tool, whose median is the time that it takes: neither a first one,
/// which compiles and connects, nor a hiccup says it.
const EXECUTIONS_KNOWN: usize = 5;
/// Executions without which nobody knows what a tool takes.
const EXECUTIONS_MIN: usize = 3;
/// Name of the directory in the state directory.
const DIRECTORY: &str = "history";

/// What is known of all workspaces.
pub(crate) struct Foresight {
    directory: PathBuf,
    known: Mutex<HashMap<PathBuf, Arc<Workspace>>>,
}

/// What is known of one workspace.
pub(crate) struct Workspace {
    file: PathBuf,
    learned: Mutex<Learned>,
    /// One learns at a time, and writes the file.
    learning: Mutex<()>,
}

#[derive(Default)]
struct Learned {
    predictor: Predictor,
    /// How long the newest executions of each tool took. Not kept: the next ones tell.
    took: HashMap<String, VecDeque<Duration>>,
}

impl Foresight {
    pub(crate) fn new(state_dir: &Path) -> Foresight {
        Foresight {
            directory: state_dir.join(DIRECTORY),
            known: Mutex::default(),
        }
    }

    /// What is known of a workspace. Blocks on the disk.
    pub(crate) fn of(&self, workspace: &Path) -> Arc<Workspace> {
        let mut known = locked(&self.known);
        if let Some(found) = known.get(workspace) {
            return Arc::clone(found);
        }
        if known.len() >= WORKSPACES_MAX {
            known.retain(|_, workspace| Arc::strong_count(workspace) > 1);
        }
        let name = Digest::of(workspace.as_os_str().as_encoded_bytes());
        let file = self.directory.join(format!("{name}.json"));
        let predictor = read(&file).unwrap_or_default();
        let found = Arc::new(Workspace {
            file,
            learned: Mutex::new(Learned {
                predictor,
                took: HashMap::new(),
            }),
            learning: Mutex::default(),
        });
        known.insert(workspace.to_owned(), Arc::clone(&found));
        found
    }
}

impl Learned {
    /// How long a tool takes; nothing if that is not known.
    fn takes(&self, tool: &str) -> Duration {
        let took = self.took.get(tool);
        let mut took: Vec<_> = took.into_iter().flatten().copied().collect();
        took.sort_unstable();
        match took.len() >= EXECUTIONS_MIN {
            true => took[took.len() / 2],
            false => Duration::ZERO,
        }
    }
}

impl Workspace {
    /// The calls that may come next and are worth running ahead, the most probable first: their
    /// chance times the time that their tool takes is at least [`GAIN_MIN`]. A tool whose time is
    /// not known is not run ahead; its next verified calls tell.
    pub(crate) fn predict(&self, run: &Run, most: usize) -> Vec<Action> {
        let learned = locked(&self.learned);
        let candidates = learned.predictor.predict(run, most).into_iter();
        let worth = candidates.filter(|candidate| {
            let takes = learned.takes(&candidate.action.tool);
            candidate.confidence >= CHANCE_MIN && takes.mul_f64(candidate.confidence) >= GAIN_MIN
        });
        worth.map(|candidate| candidate.action).collect()
    }

    /// A tool took this long.
    pub(crate) fn executed(&self, tool: &str, elapsed: Duration) {
        let took = &mut locked(&self.learned).took;
        if took.len() >= TOOLS_MAX && !took.contains_key(tool) {
            return;
        }
        let took = took.entry(tool.to_owned()).or_default();
        took.truncate(EXECUTIONS_KNOWN - 1);
        took.push_front(elapsed);
    }

    /// Learns from calls that were verified, and keeps it. Blocks on the disk.
    pub(crate) fn learn(&self, run: &Run) {
        let _one_at_a_time = locked(&self.learning);
        // Sessions that predict do not wait for this.
        let mut predictor = locked(&self.learned).predictor.clone();
        predictor.learn(run);
        let text = predictor.to_json();
        locked(&self.learned).predictor = predictor;
        let kept = text.map_err(io::Error::from);
        if let Err(error) = kept.and_then(|text| kept::write(&self.file, &text)) {
            tracing::warn!(%error, file = %self.file.display(), "what was learned is not kept");
        }
    }
}

fn read(file: &Path) -> Option<Predictor> {
    let text = match kept::read(file, STATE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "what was learned can not be read");
            return None;
        }
    };
    let read = Predictor::from_json(&text);
    read.inspect_err(|error| {
        tracing::warn!(%error, file = %file.display(), "what was learned is learned again");
    })
    .ok()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{Observation, ObservationStatus};

    fn call(tool: &str) -> Action {
        Action::parse(tool, "{}").expect("an action")
    }

    fn run(tools: &[&str]) -> Run {
        let mut run = Run::new("");
        let seen = Observation::new(ObservationStatus::Success, "seen");
        for tool in tools {
            run.push(&call(tool), Some(&seen));
        }
        run
    }

    /// `slow` follows `first` so often that it is certain.
    fn taught(foresight: &Foresight) -> Arc<Workspace> {
        let workspace = foresight.of(Path::new("/somewhere"));
        for _ in 0..12 {
            workspace.learn(&run(&["first", "slow", "first", "slow"]));
        }
        workspace
    }

    /// `slow` takes so many milliseconds, three times in a row.
    fn takes(workspace: &Workspace, millis: u64) {
        for _ in 0..3 {
            workspace.executed("slow", Duration::from_millis(millis));
        }
    }

    #[test]
    fn what_takes_long_is_run_ahead_and_what_does_not_is_left_alone() {
        let state = tempfile::tempdir().expect("a directory");
        let workspace = taught(&Foresight::new(state.path()));
        let run = run(&["first"]);
        assert_eq!(workspace.predict(&run, 1), [], "its time is not known");
        takes(&workspace, 300);
        assert_eq!(workspace.predict(&run, 1), [call("slow")]);
        workspace.executed("slow", Duration::from_millis(1));
        assert_eq!(
            workspace.predict(&run, 1),
            [call("slow")],
            "once is nothing"
        );
        takes(&workspace, 1);
        assert_eq!(workspace.predict(&run, 1), [], "it is fast now");
        takes(&workspace, 10_000);
        workspace.executed("other", Duration::from_secs(1));
        assert_eq!(workspace.predict(&run, 1), [call("slow")]);
    }

    #[test]
    fn what_was_learned_is_kept_for_its_workspace_and_for_no_other() {
        let state = tempfile::tempdir().expect("a directory");
        drop(taught(&Foresight::new(state.path())));
        let again = Foresight::new(state.path());
        let known = |of: &str| {
            let workspace = again.of(Path::new(of));
            takes(&workspace, 1_000);
            workspace.predict(&run(&["first"]), 3).len()
        };
        assert_eq!(known("/somewhere"), 1);
        assert_eq!(known("/elsewhere"), 0);
    }

    #[test]
    fn a_broken_file_is_learned_anew() {
        let state = tempfile::tempdir().expect("a directory");
        let file = taught(&Foresight::new(state.path())).file.clone();
        std::fs::write(&file, "{\"version\":1,\"learned\":7}").expect("written");
        let again = Foresight::new(state.path());
        let workspace = again.of(Path::new("/somewhere"));
        takes(&workspace, 1_000);
        assert_eq!(workspace.predict(&run(&["first"]), 1), []);
        drop(taught(&again));
        assert_eq!(workspace.predict(&run(&["first"]), 1), [call("slow")]);
        // What is no file at all holds nobody up.
        std::fs::remove_file(&file).expect("removed");
        std::fs::create_dir(&file).expect("a directory");
        let again = Foresight::new(state.path()).of(Path::new("/somewhere"));
        takes(&again, 1_000);
        assert_eq!(again.predict(&run(&["first"]), 1), []);
    }
}
