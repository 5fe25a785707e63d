//! The daemon's configuration: defaults, then the file, then what the command line says.
//!
//! Everything is parsed before anything is opened; an unknown key is an error that names
//! it and its place.

use crate::egress::{HostPattern, SecretSettings};
use forerun_policy::Enforcement;
use forerun_snapshot::Retention;
use forerun_types::Limits;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most bytes of a configuration file; stops a wrong path from filling memory.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest depth: more undecided steps than this never pay, and each may hold a T call.
pub const DEPTH_MAX: u32 = 32;

/// Where the daemon keeps its state and listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of mode 0700 for the journal, the keys and staged content.
    pub state_dir: PathBuf,
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// What compiles components in a process of its own: a program and its arguments.
    /// Empty: the daemon does, without limits.
    pub compiler: Vec<std::ffi::OsString>,
    /// Directory of the user's own policy sets, if there is one.
    pub policies: Option<PathBuf>,
    /// The system's policies, which narrow every set; the file need not exist.
    pub system_policy: PathBuf,
    /// What the file says, over the defaults.
    pub settings: Settings,
}

/// The configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The policy set of sessions that name none: a ready one, or one of the user's own.
    pub policy: String,
    /// `enforce`, or `audit`: what a policy set refuses is only noted. What is protected, and
    /// the system's and projects' layers, are enforced all the same.
    pub enforcement: Enforcement,
    /// How many steps may be undecided at once, for sessions that do not say.
    pub depth: u32,
    /// How many candidates of the approximation agent are executed side by side for a step,
    /// for sessions that do not say.
    pub width: u32,
    /// Most steps of a session: stops a plan that never ends.
    pub max_steps: u32,
    /// Sessions that may be open at once.
    pub max_sessions: u32,
    /// Protected paths that the user gives free, relative to a workspace.
    pub unprotect: Vec<String>,
    /// Limits of one action.
    pub limits: Limits,
    /// A TCP port beside the socket.
    pub listen: ListenSettings,
    /// What tools may reach beyond the workspace, as far as policy lets them.
    pub network: NetworkSettings,
    /// Credentials that tools may use and never see, by name.
    pub secrets: BTreeMap<String, SecretSettings>,
    /// When agents are given up.
    pub agents: AgentSettings,
    /// When questions to the owner are given up.
    pub approvals: ApprovalSettings,
    /// How long commits can be undone.
    pub undo: UndoSettings,
    /// Models, which the command line reads and checks: the daemon calls none.
    #[serde(skip_serializing)]
    pub models: Elsewhere,
}

/// A table of the file that somebody else reads: whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere;

impl<'de> Deserialize<'de> for Elsewhere {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elsewhere, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Elsewhere)
    }
}

/// How long commits can be undone: what they replaced is kept for so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UndoSettings {
    /// The oldest commit that can be undone, in days.
    pub keep_days: u32,
    /// Most bytes that are kept of one workspace.
    pub keep_bytes: u64,
}

impl Default for UndoSettings {
    fn default() -> Self {
        UndoSettings {
            keep_days: 7,
            keep_bytes: 5 << 30,
        }
    }
}

impl UndoSettings {
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            age: Duration::from_secs(u64::from(self.keep_days) * 24 * 60 * 60),
            bytes: self.keep_bytes,
        }
    }
}

/// A TCP port, for clients that can not use the socket: with TLS, and for who brings a token.
/// Closed unless it has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSettings {
    /// Address and port, such as `127.0.0.1:7447`.
    pub address: Option<SocketAddr>,
    /// File of the certificate, and those that lead to its root, in PEM.
    pub certificate: Option<PathBuf>,
    /// File of its key, in PEM.
    pub key: Option<PathBuf>,
    /// Names by which it is addressed, besides its address. Requests for others are refused:
    /// they come from a page that had its own name lead here.
    pub names: Vec<String>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        ListenSettings {
            address: None,
            certificate: None,
            key: None,
            names: vec!["localhost".to_owned()],
        }
    }
}

/// What tools may reach. A host is `host`, `host:port`, or `*.domain` for all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Hosts that policies see as listed; the ready sets let tools reach them once a step is
    /// decided.
    pub allow: Vec<String>,
    /// Of these, hosts that may be read from ahead of the verdict: what a mistaken guess asks
    /// of them can not be taken back.
    pub ahead: Vec<String>,
    /// Hosts of this machine or its networks that tools may reach; others of these are refused
    /// whatever policy says.
    pub private: Vec<String>,
    /// How long a request may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        NetworkSettings {
            allow: Vec::new(),
            ahead: Vec::new(),
            private: Vec::new(),
            timeout_ms: 30_000,
        }
    }
}

/// When agents are given up, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// How long a broken stream keeps its calls.
    pub reattach_ms: u64,
    /// How long a call may be silent.
    pub idle_ms: u64,
    /// How long a call may take at all.
    pub total_ms: u64,
}

/// When questions that policy puts to the owner are given up, which refuses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalSettings {
    /// How long a question waits, in milliseconds; 0 is for ever.
    pub timeout_ms: u64,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        ApprovalSettings {
            timeout_ms: 3_600_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: "workspace-write".to_owned(),
            enforcement: Enforcement::Enforce,
            depth: 4,
            width: 1,
            max_steps: 200,
            max_sessions: 256,
            unprotect: Vec::new(),
            limits: Limits::default(),
            listen: ListenSettings::default(),
            network: NetworkSettings::default(),
            secrets: BTreeMap::new(),
            agents: AgentSettings::default(),
            approvals: ApprovalSettings::default(),
            undo: UndoSettings::default(),
            models: Elsewhere,
        }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        AgentSettings {
            reattach_ms: 30_000,
            idle_ms: 120_000,
            total_ms: 3_600_000,
        }
    }
}

/// A configuration that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be; the message has line and column.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A value is out of its range.
    #[error("{key} is {found}; it must be {range}")]
    Range {
        /// The key, dotted.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        range: String,
    },
}

impl Settings {
    /// Reads the file at `path`; the defaults if there is none.
    ///
    /// # Errors
    /// If it can not be read, has unknown keys, or values out of range.
    pub fn load(path: &Path) -> Result<Settings, ConfigError> {
        let read_error = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Settings::default());
            }
            Err(error) => return Err(read_error(error)),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let message = format!("{} bytes long; at most {FILE_BYTES_MAX}", metadata.len());
                return Err(ConfigError::Parse {
                    path: path.to_owned(),
                    message,
                });
            }
            Ok(_) => std::fs::read_to_string(path).map_err(read_error)?,
        };
        let settings: Settings = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range = |key, found: u64, min: u64, max: u64| {
            if (min..=max).contains(&found) {
                Ok(())
            } else {
                let range = format!("{min} to {max}");
                Err(ConfigError::Range {
                    key,
                    found: found.to_string(),
                    range,
                })
            }
        };
        range("depth", self.depth.into(), 0, DEPTH_MAX.into())?;
        range(
            "width",
            self.width.into(),
            1,
            forerun_planner::Config::WIDTH_MAX.into(),
        )?;
        range("max_steps", self.max_steps.into(), 1, 100_000)?;
        range("max_sessions", self.max_sessions.into(), 1, 10_000)?;
        range(
            "limits.memory_bytes",
            self.limits.memory_bytes,
            1 << 20,
            4 << 30,
        )?;
        range("limits.cpu_ms", self.limits.cpu_ms, 1, 3_600_000)?;
        range("limits.wall_ms", self.limits.wall_ms, 1, 3_600_000)?;
        range(
            "limits.output_bytes",
            self.limits.output_bytes,
            1 << 10,
            8 << 20,
        )?;
        range("agents.idle_ms", self.agents.idle_ms, 100, 86_400_000)?;
        range("agents.total_ms", self.agents.total_ms, 100, 86_400_000)?;
        range("agents.reattach_ms", self.agents.reattach_ms, 0, 86_400_000)?;
        range("network.timeout_ms", self.network.timeout_ms, 1, 600_000)?;
        range(
            "approvals.timeout_ms",
            self.approvals.timeout_ms,
            0,
            30 * 86_400_000,
        )?;
        let lists = [
            ("network.allow", &self.network.allow),
            ("network.ahead", &self.network.ahead),
            ("network.private", &self.network.private),
        ];
        let secrets = self
            .secrets
            .values()
            .map(|secret| ("secrets", &secret.hosts));
        for (key, hosts) in lists.into_iter().chain(secrets) {
            for host in hosts {
                HostPattern::parse(host).map_err(|_| ConfigError::Range {
                    key,
                    found: host.clone(),
                    range: "host, host:port or *.domain".to_owned(),
                })?;
            }
        }
        Ok(())
    }
}

impl Settings {
    pub(crate) fn deadlines(&self) -> crate::session::Deadlines {
        crate::session::Deadlines {
            reattach: Duration::from_millis(self.agents.reattach_ms),
            idle: Duration::from_millis(self.agents.idle_ms),
            total: Duration::from_millis(self.agents.total_ms),
            approval: Duration::from_millis(self.approvals.timeout_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).expect("file");
        Settings::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn no_file_means_the_defaults() {
        assert_eq!(
            Settings::load(Path::new("/does/not/exist")).ok(),
            Some(Settings::default())
        );
        assert_eq!(load(""), Ok(Settings::default()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = load("depth = 2\n[limits]\ncpu_msec = 1\n").expect_err("a typo");
        assert!(
            error.contains("line 3") && error.contains("cpu_msec"),
            "{error}"
        );
    }

    #[test]
    fn models_are_left_to_who_calls_them() {
        let text = "[models]\ntarget = \"openai:m\"\n[models.prices.m]\ninput = 2\noutput = 8\n";
        assert_eq!(load(text), Ok(Settings::default()));
    }

    #[test]
    fn a_value_out_of_range_says_the_range() {
        assert_eq!(
            load("depth = 99"),
            Err("depth is 99; it must be 0 to 32".to_owned())
        );
    }
}
