//! Where the daemon listens and keeps its state: the same order in every SDK and in the
//! command line. Reads the environment, touches nothing.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest path of a Unix socket that the system takes (`sun_path` less its zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The variable that says where the daemon keeps its state.
pub(crate) const STATE_DIR_VARIABLE: &str = "FORERUN_STATE_DIR";

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A Unix socket, absolute.
    Unix(PathBuf),
}

/// An endpoint that can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not of a known form.
    #[error("the endpoint {found:?} is not of the form unix:///path/to/socket")]
    Form {
        /// What was given.
        found: String,
    },
    /// The path is longer than a socket's may be.
    #[error("the socket path {path} has {} bytes; at most {SOCKET_PATH_BYTES_MAX} are possible", .path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Neither a state directory nor a home directory is known.
    #[error("no state directory is known: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoHome,
}

impl EndpointError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            EndpointError::Form { .. } => "ENDPOINT_INVALID",
            EndpointError::TooLong { .. } => "ENDPOINT_TOO_LONG",
            EndpointError::NoHome => "NO_HOME",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> &'static str {
        match self {
            EndpointError::Form { .. } => {
                "give an absolute path, as in FORERUN_ENDPOINT=unix:///run/user/1000/forerun/forerun.sock"
            }
            EndpointError::TooLong { .. } => "set FORERUN_ENDPOINT to a shorter path",
            EndpointError::NoHome => "set HOME, or FORERUN_STATE_DIR",
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(EndpointError::Form {
                found: text.to_owned(),
            });
        }
        Endpoint::unix(PathBuf::from(path))
    }
}

impl Endpoint {
    /// The socket at an absolute path.
    ///
    /// # Errors
    /// If the path is longer than the system takes.
    pub fn unix(path: PathBuf) -> Result<Endpoint, EndpointError> {
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(EndpointError::TooLong { path });
        }
        Ok(Endpoint::Unix(path))
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        let Endpoint::Unix(path) = self;
        path
    }
}

/// As `FORERUN_ENDPOINT` spells it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path().display())
    }
}

/// Where the daemon of this user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Where it keeps its journal, its keys and its log.
    pub state_dir: PathBuf,
}

impl Locations {
    /// From what was given, then the environment, then the customary places:
    /// `endpoint` > `FORERUN_ENDPOINT` > `$XDG_RUNTIME_DIR/forerun/forerun.sock` > the state
    /// directory; and `state_dir` > `FORERUN_STATE_DIR` > `$XDG_STATE_HOME/forerun` >
    /// `~/.local/state/forerun`.
    ///
    /// # Errors
    /// If the endpoint is not valid, or no home directory is known.
    pub fn find(
        endpoint: Option<&str>,
        state_dir: Option<&Path>,
    ) -> Result<Locations, EndpointError> {
        Locations::find_in(endpoint, state_dir, |name| std::env::var_os(name))
    }

    fn find_in(
        endpoint: Option<&str>,
        state_dir: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Locations, EndpointError> {
        // As the XDG specification wants: a relative path counts as not set.
        let directory = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state_dir = state_dir
            .map(Path::to_owned)
            .or_else(|| directory(STATE_DIR_VARIABLE))
            .or_else(|| directory("XDG_STATE_HOME").map(|path| path.join("forerun")))
            .or_else(|| directory("HOME").map(|path| path.join(".local/state/forerun")))
            .ok_or(EndpointError::NoHome)?;
        let named = match endpoint {
            Some(endpoint) => Some(endpoint.to_owned()),
            None => variable("FORERUN_ENDPOINT")
                .filter(|value| !value.is_empty())
                .map(|value| {
                    value.into_string().map_err(|value| EndpointError::Form {
                        found: value.to_string_lossy().into_owned(),
                    })
                })
                .transpose()?,
        };
        let endpoint = match named {
            Some(endpoint) => endpoint.parse()?,
            None => Endpoint::unix(match directory("XDG_RUNTIME_DIR") {
                Some(runtime_dir) => runtime_dir.join("forerun/forerun.sock"),
                None => state_dir.join("forerun.sock"),
            })?,
        };
        Ok(Locations {
            endpoint,
            state_dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        endpoint: Option<&str>,
        state_dir: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<(String, PathBuf), EndpointError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Locations::find_in(endpoint, state_dir.map(Path::new), variable)
            .map(|found| (found.endpoint.to_string(), found.state_dir))
    }

    #[test]
    fn what_is_given_wins_over_the_environment_and_that_over_the_customary_places() {
        let all = [
            ("HOME", "/home/ada"),
            ("XDG_STATE_HOME", "/state"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("FORERUN_ENDPOINT", "unix:///tmp/f.sock"),
            ("FORERUN_STATE_DIR", "/own"),
        ];
        let found = |endpoint, state_dir, variables| {
            let (endpoint, state_dir) = find(endpoint, state_dir, variables).expect("valid");
            (endpoint, state_dir.to_string_lossy().into_owned())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            found(Some("unix:///given"), Some("/s"), &all),
            pair("unix:///given", "/s")
        );
        assert_eq!(found(None, None, &all), pair("unix:///tmp/f.sock", "/own"));
        assert_eq!(
            found(None, None, &all[..3]),
            pair("unix:///run/user/7/forerun/forerun.sock", "/state/forerun")
        );
        assert_eq!(
            found(None, None, &all[..2]),
            pair("unix:///state/forerun/forerun.sock", "/state/forerun")
        );
        assert_eq!(
            found(None, None, &all[..1]),
            pair(
                "unix:///home/ada/.local/state/forerun/forerun.sock",
                "/home/ada/.local/state/forerun"
            )
        );
    }

    #[test]
    fn relative_directories_count_as_not_set() {
        let variables = [
            ("HOME", "/h"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", ""),
        ];
        let (endpoint, _) = find(None, None, &variables).expect("valid");
        assert_eq!(endpoint, "unix:///h/.local/state/forerun/forerun.sock");
        assert_eq!(find(None, None, &[]), Err(EndpointError::NoHome));
    }

    #[test]
    fn an_endpoint_of_another_form_is_refused() {
        for text in [
            "",
            "forerun.sock",
            "http://localhost:1",
            "unix://x",
            "unix:///dir/",
        ] {
            let error = find(Some(text), Some("/s"), &[]).expect_err(text);
            assert_eq!(error.code(), "ENDPOINT_INVALID", "{text}");
        }
        let long = format!("unix:///{}", "x".repeat(200));
        let error = find(Some(&long), Some("/s"), &[]).expect_err("too long");
        assert_eq!(error.code(), "ENDPOINT_TOO_LONG");
        assert_eq!(
            "/plain".parse::<Endpoint>().expect("a path").path(),
            Path::new("/plain")
        );
    }
}
