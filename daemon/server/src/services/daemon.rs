//! What runs, and how to stop it.

use crate::daemon::Daemon;
use forerun_proto::v1;
use forerun_proto::v1::daemon_service_server::DaemonService;
use std::sync::Arc;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

pub(super) struct Daemons(pub(super) Arc<Daemon>);

#[tonic::async_trait]
impl DaemonService for Daemons {
    async fn status(
        &self,
        _: Request<v1::DaemonServiceStatusRequest>,
    ) -> Result<Response<v1::DaemonServiceStatusResponse>, Status> {
        let started = self
            .0
            .started_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Response::new(v1::DaemonServiceStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: Some(forerun_proto::PROTOCOL),
            pid: std::process::id(),
            state_dir: self.0.config.state_dir.display().to_string(),
            endpoint: format!("unix://{}", self.0.config.socket.display()),
            sessions: u32::try_from(self.0.session_count()).unwrap_or(u32::MAX),
            started_at_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
        }))
    }

    async fn shutdown(
        &self,
        request: Request<v1::DaemonServiceShutdownRequest>,
    ) -> Result<Response<v1::DaemonServiceShutdownResponse>, Status> {
        self.0
            .authorize_user(request.metadata(), "stop the daemon")?;
        self.0.stop();
        Ok(Response::new(v1::DaemonServiceShutdownResponse {}))
    }
}
