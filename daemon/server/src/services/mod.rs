//! The gRPC services. Wire types die here: what comes in is converted and checked before
//! it reaches a session, what goes out is converted last.

mod action;
mod agent;
mod daemon;
mod policy;
mod register;
mod session;
mod tool;

use crate::auth::Authority;
use crate::daemon::Daemon;
use crate::error::RequestError;
use forerun_journal::SessionRecord;
use forerun_proto::conversions;
use forerun_proto::v1::action_service_server::ActionServiceServer;
use forerun_proto::v1::agent_service_server::AgentServiceServer;
use forerun_proto::v1::daemon_service_server::DaemonServiceServer;
use forerun_proto::v1::policy_service_server::PolicyServiceServer;
use forerun_proto::v1::session_service_server::SessionServiceServer;
use forerun_proto::v1::tool_service_server::ToolServiceServer;
use forerun_types::SessionId;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::transport::server::{Router, Server};

/// Most bytes of one message in either direction.
const MESSAGE_BYTES_MAX: usize = forerun_proto::MESSAGE_BYTES_MAX;

/// All services, health and reflection included.
pub(crate) async fn router<L: Clone>(daemon: &Arc<Daemon>, mut server: Server<L>) -> Router<L> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let sessions = SessionServiceServer::new(session::Sessions(Arc::clone(daemon)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let agents = AgentServiceServer::new(agent::Agents(Arc::clone(daemon)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let actions = ActionServiceServer::new(action::Actions(Arc::clone(daemon)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let tools = ToolServiceServer::new(tool::Tools(Arc::clone(daemon)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let policies = PolicyServiceServer::new(policy::Policies(Arc::clone(daemon)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let daemons = DaemonServiceServer::new(daemon::Daemons(Arc::clone(daemon)));
    health
        .set_serving::<SessionServiceServer<session::Sessions>>()
        .await;
    health
        .set_serving::<AgentServiceServer<agent::Agents>>()
        .await;
    let router = server
        .add_service(health_service)
        .add_service(sessions)
        .add_service(agents)
        .add_service(actions)
        .add_service(tools)
        .add_service(policies)
        .add_service(daemons);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(forerun_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => router.add_service(reflection),
        Err(error) => {
            tracing::warn!(%error, "reflection is not served");
            router
        }
    }
}

/// Runs what blocks on the disk where blocking hurts nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(RequestError::Internal(error.to_string())))
}

/// The token of a call: `authorization: Bearer …`.
fn token(metadata: &MetadataMap) -> Result<&str, RequestError> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or(RequestError::TokenMissing)
}

impl Daemon {
    /// Finds the session and what the caller may do in it. Without a valid token nobody
    /// learns whether a session exists.
    fn authorize(
        &self,
        metadata: &MetadataMap,
        session: &str,
    ) -> Result<(SessionRecord, Authority), RequestError> {
        let token = token(metadata)?;
        let id: SessionId = conversions::text("session", session)?;
        let record = match self.record(&id) {
            Err(RequestError::NoSession(_)) if !self.owner_key.is(token) => {
                return Err(RequestError::TokenInvalid);
            }
            record => record?,
        };
        let authority = self.authority(&record, token)?;
        Ok((record, authority))
    }

    /// The same, for what only the owner may do.
    fn authorize_owner(
        &self,
        metadata: &MetadataMap,
        session: &str,
        what: &str,
    ) -> Result<SessionRecord, RequestError> {
        match self.authorize(metadata, session)? {
            (record, Authority::Owner) => Ok(record),
            _ => Err(RequestError::TokenNotAllowed(format!(
                "{what}; that needs the owner token"
            ))),
        }
    }

    /// For what only the user may do: needs the per-user owner key.
    fn authorize_user(&self, metadata: &MetadataMap, what: &str) -> Result<(), RequestError> {
        if self.owner_key.is(token(metadata)?) {
            Ok(())
        } else {
            Err(RequestError::TokenNotAllowed(format!(
                "{what}; that needs the owner key"
            )))
        }
    }
}
