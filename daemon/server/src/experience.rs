//! What sessions in a workspace learn about its agents, for those after them: how long they take,
//! and how often the approximation agent is right. The planner learns it; here it is kept.
//!
//! **Invariant:** what can not be read is learned again; no session fails by it.

use crate::kept;
use forerun_planner::Experience;
use forerun_types::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the directory in the state directory.
const DIRECTORY: &str = "experience";
/// Most bytes of one workspace's; stops a file that is something else.
const BYTES_MAX: usize = 1 << 20;

/// Where the experience of a workspace is kept.
#[derive(Clone, Debug)]
pub(crate) struct Experiences {
    file: PathBuf,
}

impl Experiences {
    pub(crate) fn of(state_dir: &Path, workspace: &Path) -> Experiences {
        let name = Digest::of(workspace.as_os_str().as_encoded_bytes());
        Experiences {
            file: state_dir.join(DIRECTORY).join(format!("{name}.json")),
        }
    }

    /// What is known. Blocks on the disk.
    pub(crate) fn read(&self) -> Experience {
        let read = kept::read(&self.file, BYTES_MAX)
            .and_then(|text| serde_json::from_str(&text).map_err(io::Error::from));
        match read {
            Ok(experience) => experience,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Experience::default(),
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "what was learned is learned again");
                Experience::default()
            }
        }
    }

    /// Keeps what is known now: of sessions that end together, what one learned. Blocks on the
    /// disk.
    pub(crate) fn keep(&self, experience: &Experience) {
        let text = serde_json::to_string(experience).map_err(io::Error::from);
        if let Err(error) = text.and_then(|text| kept::write(&self.file, &text)) {
            tracing::warn!(%error, file = %self.file.display(), "what was learned is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_broken_is_not_there() {
        let state = tempfile::tempdir().expect("a directory");
        let kept = Experiences::of(state.path(), Path::new("/work"));
        assert_eq!(kept.read(), Experience::default());
        let text = serde_json::to_value(Experience::default()).expect("JSON");
        kept.keep(&Experience::default());
        let read = std::fs::read_to_string(&kept.file).expect("reads");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&read).expect("JSON"),
            text
        );
        for broken in ["", "[1]", "{\"pace\":7}"] {
            std::fs::write(&kept.file, broken).expect("writes");
            assert_eq!(kept.read(), Experience::default(), "{broken}");
        }
        let other = Experiences::of(state.path(), Path::new("/other"));
        assert_ne!(other.file, kept.file);
    }
}
