//! Finds the daemon, or starts it: the way from an endpoint to a channel on which a
//! daemon that serves has answered.
//!
//! **Invariants**
//! - Nothing is sent to a socket that is not ours, in a directory that is not ours, or
//!   whose peer is another user.
//! - However many programs look for the daemon at once, at most one of them starts it.

mod detach;
mod launch;
mod socket;

use crate::client::Forerun;
use crate::endpoint::{Endpoint, Locations};
use crate::error::{Error, Result};
use forerun_proto::v1::daemon_service_client::DaemonServiceClient;
use forerun_proto::{PROTOCOL, v1};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How long a daemon may take until it serves, unless told otherwise: its first start
/// compiles the tools.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a daemon that starts is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How to find the daemon, and whether to start it.
#[derive(Clone, Debug)]
pub struct Connect {
    endpoint: Option<String>,
    state_dir: Option<PathBuf>,
    binary: Option<PathBuf>,
    spawn: bool,
    start_timeout: Duration,
}

impl Default for Connect {
    fn default() -> Self {
        Connect {
            endpoint: None,
            state_dir: None,
            binary: None,
            spawn: true,
            start_timeout: START_TIMEOUT,
        }
    }
}

impl Connect {
    /// Where the daemon listens, as `FORERUN_ENDPOINT` spells it.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Connect {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Where a daemon that is started keeps its state.
    #[must_use]
    pub fn state_dir(mut self, state_dir: impl Into<PathBuf>) -> Connect {
        let state_dir = state_dir.into();
        // A daemon does not live in our current directory.
        self.state_dir = Some(std::path::absolute(&state_dir).unwrap_or(state_dir));
        self
    }

    /// The `forerun` program to start. Otherwise: `FORERUN_BIN`, then the directory of
    /// the running program, then `PATH`.
    #[must_use]
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Connect {
        self.binary = Some(binary.into());
        self
    }

    /// Never start a daemon. The variable `FORERUN_NO_SPAWN` says the same.
    #[must_use]
    pub fn no_spawn(mut self) -> Connect {
        self.spawn = false;
        self
    }

    /// How long a daemon may take until it serves.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Connect {
        self.start_timeout = timeout;
        self
    }

    /// Connects, after starting the daemon if none answers and that is allowed.
    ///
    /// # Errors
    /// If no daemon can be reached or started, if the socket is not safe to use, or if
    /// the daemon speaks another major version of the protocol.
    pub async fn connect(self) -> Result<Forerun> {
        let locations = Locations::find(self.endpoint.as_deref(), self.state_dir.as_deref())?;
        let deadline = Instant::now() + self.start_timeout;
        let channel = match reach(&locations.endpoint, deadline).await? {
            Some(channel) => channel,
            None if self.may_spawn() => self.start(&locations, deadline).await?,
            None => {
                return Err(Error::NotRunning {
                    endpoint: locations.endpoint.to_string(),
                });
            }
        };
        let status = status(&channel).await?;
        tracing::debug!(endpoint = %locations.endpoint, version = %status.version, "connected");
        Ok(Forerun::new(channel, locations.endpoint, status))
    }

    fn may_spawn(&self) -> bool {
        let forbidden = std::env::var_os("FORERUN_NO_SPAWN")
            .is_some_and(|value| !value.is_empty() && value != "0");
        self.spawn && !forbidden
    }

    /// Starts the daemon, or waits for the one that somebody else is starting.
    async fn start(&self, locations: &Locations, deadline: Instant) -> Result<Channel> {
        socket::make_private_directory(&locations.state_dir)?;
        if let Some(parent) = locations.endpoint.path().parent() {
            socket::make_private_directory(parent)?;
        }
        let mut starting: Option<launch::Starting> = None;
        loop {
            if let Some(channel) = reach(&locations.endpoint, deadline).await? {
                return Ok(channel);
            }
            match &starting {
                Some(starting) => {
                    if let Err(error) = starting.check() {
                        // It also stops if somebody else's daemon was there first.
                        return reach(&locations.endpoint, deadline).await?.ok_or(error);
                    }
                }
                // Whoever has the lock looks once more before starting: the holder before
                // may just have succeeded.
                None => match launch::lock(&locations.endpoint)? {
                    Some(lock) => {
                        if let Some(channel) = reach(&locations.endpoint, deadline).await? {
                            return Ok(channel);
                        }
                        let binary = launch::find_binary(self.binary.as_deref())?;
                        starting = Some(launch::start(&binary, locations, lock)?);
                    }
                    None => tracing::trace!("another program is starting the daemon"),
                },
            }
            if Instant::now() >= deadline {
                return Err(launch::timed_out(locations, self.start_timeout));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A channel to the daemon if one listens and serves; `None` if nobody listens.
async fn reach(endpoint: &Endpoint, deadline: Instant) -> Result<Option<Channel>> {
    socket::check(endpoint.path())?;
    match socket::connect(endpoint.path()).await {
        Ok(_) => {}
        Err(error) if socket::means_nobody_listens(&error) => return Ok(None),
        Err(error) => return Err(Error::io("could not connect to", endpoint.path(), error)),
    }
    let channel = socket::channel(endpoint.path());
    match tokio::time::timeout_at(deadline, wait_until_serving(&channel)).await {
        Ok(Ok(())) => Ok(Some(channel)),
        // It stopped between the two connections, or is stopping.
        Ok(Err(error)) if error.is_passing() => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Unreachable {
            source: Box::new(tonic::Status::deadline_exceeded(format!(
                "something listens on {endpoint}, but does not say that it serves"
            ))),
        }),
    }
}

async fn wait_until_serving(channel: &Channel) -> Result<()> {
    let mut health = HealthClient::new(channel.clone());
    loop {
        let answer = health
            .check(HealthCheckRequest::default())
            .await
            .map_err(Error::from_status)?;
        if answer.into_inner().status() == ServingStatus::Serving {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn status(channel: &Channel) -> Result<v1::DaemonServiceStatusResponse> {
    let status = DaemonServiceClient::new(channel.clone())
        .status(v1::DaemonServiceStatusRequest {})
        .await
        .map_err(Error::from_status)?
        .into_inner();
    let theirs = status.protocol.unwrap_or_default();
    if theirs.major != PROTOCOL.major {
        return Err(Error::Protocol {
            ours: format!("{}.{}", PROTOCOL.major, PROTOCOL.minor),
            theirs: format!("{}.{}", theirs.major, theirs.minor),
        });
    }
    Ok(status)
}
