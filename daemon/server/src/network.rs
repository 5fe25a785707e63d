//! The daemon's other door: a TCP port, for clients that can not use the socket. Off unless
//! the configuration opens it.
//!
//! - TLS only. Whoever comes has to bring a token: there is no peer whose user could be asked
//!   for.
//! - **Invariant:** no web page gets in. What carries an `Origin` comes from one; what names
//!   another host was brought here by a name that somebody else controls.

use crate::auth::OwnerKey;
use crate::config::ListenSettings;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::codegen::Service;
use tonic::codegen::http::uri::Authority;
use tonic::codegen::http::{HeaderMap, Request, Response, Uri, header};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, ServerTlsConfig};
use tower::Layer;

/// How long a peer may take to agree on TLS; stops one that says nothing from being kept.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a certificate's or key's file; stops a wrong path from filling memory.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// An open port.
pub(crate) struct Port {
    pub(crate) incoming: TcpIncoming,
    pub(crate) tls: ServerTlsConfig,
    pub(crate) guard: Guard,
}

impl Port {
    /// Opens the port of the configuration, if it has one.
    ///
    /// # Errors
    /// One sentence, if that can not be.
    pub(crate) fn open(listen: &ListenSettings, key: &OwnerKey) -> Result<Option<Port>, String> {
        let Some(address) = listen.address else {
            return Ok(None);
        };
        let read = |what: &str, path: &Option<PathBuf>| match path {
            Some(path) => {
                read(path).map_err(|error| format!("listen.{what}: {}: {error}", path.display()))
            }
            None => Err(format!(
                "listen.{what} is not set; the port is for TLS only"
            )),
        };
        let identity = Identity::from_pem(
            read("certificate", &listen.certificate)?,
            read("key", &listen.key)?,
        );
        let incoming = TcpIncoming::bind(address)
            .map_err(|error| format!("listen.address: {address}: {error}"))?;
        let address = incoming
            .local_addr()
            .map_err(|error| format!("listen.address: {address}: {error}"))?;
        tracing::info!(%address, "listening for TLS");
        Ok(Some(Port {
            incoming: incoming.with_nodelay(Some(true)),
            tls: ServerTlsConfig::new()
                .identity(identity)
                .timeout(HANDSHAKE_TIMEOUT),
            guard: Guard {
                names: listen
                    .names
                    .iter()
                    .map(|name| name.to_lowercase())
                    .collect(),
                address,
                key: key.clone(),
            },
        }))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    if length > PEM_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has {length} bytes; at most {PEM_BYTES_MAX}"
        )));
    }
    std::fs::read(path)
}

/// Turns away who has no business at the port, before anything looks at the request.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Names by which the port is addressed, in lower case.
    names: Arc<[String]>,
    address: SocketAddr,
    key: OwnerKey,
}

impl Guard {
    /// # Errors
    /// Why a request is turned away.
    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
        if headers.contains_key(header::ORIGIN) {
            return Err(Status::permission_denied("web pages are not served"));
        }
        let hosts = headers.get_all(header::HOST).iter();
        let hosts = hosts.map(|host| Authority::try_from(host.as_bytes()));
        let named = uri.authority().cloned().map(Ok).into_iter().chain(hosts);
        let mine = |named: Result<Authority, _>| named.is_ok_and(|name| self.is_mine(name.host()));
        let named: Vec<bool> = named.map(mine).collect();
        if named.is_empty() || named.contains(&false) {
            return Err(Status::permission_denied(
                "nothing is served under that name; `listen.names` of the configuration lists those that are",
            ));
        }
        let token = headers.get(header::AUTHORIZATION);
        let token = token
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .map(str::trim);
        match token {
            None => Err(Status::unauthenticated("a token is needed here")),
            // These services ask for no token of their own.
            Some(token) if !asks_for_tokens(uri.path()) && !self.key.is(token) => {
                Err(Status::permission_denied("that needs the owner key here"))
            }
            Some(_) => Ok(()),
        }
    }

    fn is_mine(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        literal.parse() == Ok(self.address.ip()) || self.names.contains(&host)
    }
}

/// Whether a method belongs to a service that looks at its caller's token.
fn asks_for_tokens(path: &str) -> bool {
    path.starts_with("/forerun.v1.") && !path.starts_with("/forerun.v1.DaemonService/")
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.clone(),
            inner,
        }
    }
}

/// A service behind the guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.guard.admit(request.uri(), request.headers()) {
            Ok(()) => futures_util::future::Either::Left(self.inner.call(request)),
            Err(status) => {
                tracing::warn!(
                    reason = status.message(),
                    "turned a request away at the port"
                );
                futures_util::future::Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            names: Arc::from(["localhost".to_owned()]),
            address: "127.0.0.1:7000".parse().expect("an address"),
            key: OwnerKey::of("key"),
        }
    }

    fn admit(uri: &str, headers: &[(&'static str, &str)]) -> Result<(), tonic::Code> {
        let uri: Uri = uri.parse().expect("an address");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        guard().admit(&uri, &map).map_err(|status| status.code())
    }

    const CREATE: &str = "https://localhost:7000/forerun.v1.SessionService/Create";
    const TOKEN: (&str, &str) = ("authorization", "Bearer some");

    #[test]
    fn what_a_browser_can_not_leave_out_is_turned_away() {
        use tonic::Code::{PermissionDenied, Unauthenticated};
        assert_eq!(admit(CREATE, &[TOKEN]), Ok(()));
        assert_eq!(admit(CREATE, &[]), Err(Unauthenticated));
        for origin in ["https://evil.example", "null", "https://localhost:7000"] {
            let refused = admit(CREATE, &[TOKEN, ("origin", origin)]);
            assert_eq!(refused, Err(PermissionDenied), "{origin}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:7000",
            "127.0.0.2",
            "[::1]:7000",
        ] {
            let uri = format!("https://{host}/forerun.v1.SessionService/Create");
            assert_eq!(admit(&uri, &[TOKEN]), Err(PermissionDenied), "{host}");
            let host = ("host", host);
            assert_eq!(admit(CREATE, &[TOKEN, host]), Err(PermissionDenied));
            let get = admit("/forerun.v1.SessionService/Get", &[TOKEN, host]);
            assert_eq!(get, Err(PermissionDenied));
        }
        for host in ["LOCALHOST", "127.0.0.1:7000", "localhost:1"] {
            let uri = format!("https://{host}/forerun.v1.SessionService/Create");
            assert_eq!(admit(&uri, &[TOKEN, ("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(
            admit("/forerun.v1.SessionService/Get", &[TOKEN]),
            Err(PermissionDenied)
        );
        assert_eq!(
            admit(CREATE, &[TOKEN, ("host", "a b")]),
            Err(PermissionDenied)
        );
    }

    #[test]
    fn services_without_tokens_of_their_own_ask_for_the_owner_key() {
        for path in [
            "grpc.health.v1.Health/Check",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "forerun.v1.DaemonService/Status",
        ] {
            let uri = format!("https://localhost:7000/{path}");
            let refused = admit(&uri, &[TOKEN]);
            assert_eq!(refused, Err(tonic::Code::PermissionDenied), "{path}");
            assert_eq!(
                admit(&uri, &[("authorization", "Bearer key")]),
                Ok(()),
                "{path}"
            );
        }
    }
}
