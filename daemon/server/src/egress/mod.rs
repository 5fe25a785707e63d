//! Sends what policy, and the step's verdict, let out: the only place of the daemon that opens
//! a connection for a tool.
//!
//! ```text
//!  address ──▶ host ──▶ lookup ──▶ only public addresses ──▶ connect ──▶ one response, whole
//!                │                        └─ else refused
//!                └─ listed under `private`: looked up as it is
//! ```
//!
//! - **Invariant:** the address that is checked is the one that is connected to: names are
//!   looked up here, and what is not public is taken out before the connection is made.
//! - **Invariant:** no redirect is followed; the tool sees it, and what it makes of it is a
//!   request of its own, decided anew.
//! - No proxy, no cookies, no credentials but the secrets that the configuration binds to the
//!   host: a tool knows their names only, and does not see them in a response either.

mod address;
mod secrets;

pub(crate) use address::{HostPattern, Target};
pub(crate) use secrets::SecretSettings;

use crate::config::NetworkSettings;
use address::is_public;
use forerun_sandbox::EgressRefusal;
use forerun_types::{HttpRequest, HttpResponse};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Method, redirect};
use secrets::Secrets;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a response's body, which is held whole, and kept if it is not to be asked for
/// again.
const RESPONSE_BYTES_MAX: usize = 8 << 20;
/// Requests of all sessions that are under way at once; stops their responses from filling
/// memory.
const SENDING_MAX: usize = 32;
/// Most bytes of a response's headers that are passed on.
const RESPONSE_HEADER_BYTES_MAX: usize = 64 << 10;

/// Sends requests.
pub(crate) struct Egress {
    allow: Vec<HostPattern>,
    ahead: Vec<HostPattern>,
    private: Vec<HostPattern>,
    /// For the internet.
    public: Client,
    /// For hosts that the user lists as private.
    local: Client,
    secrets: Secrets,
    turns: Semaphore,
}

/// Why there is no response, and whether anything can have been sent.
pub(crate) struct Unsent {
    pub(crate) why: EgressRefusal,
    pub(crate) reason: String,
    /// Whether the host may have got the request.
    pub(crate) maybe_sent: bool,
}

impl Egress {
    /// # Errors
    /// One sentence, if a host of the configuration is none, or a secret can not be used.
    pub(crate) fn new(
        network: &NetworkSettings,
        secrets: &BTreeMap<String, SecretSettings>,
    ) -> Result<Egress, String> {
        let patterns = |hosts: &[String]| {
            let hosts = hosts.iter().map(|host| HostPattern::parse(host));
            hosts.collect::<Result<Vec<_>, _>>()
        };
        let tls = tls()?;
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(Duration::from_millis(network.timeout_ms))
                .no_proxy()
                .user_agent(concat!("forerun/", env!("CARGO_PKG_VERSION")))
        };
        let built = |client: ClientBuilder| client.build().map_err(|error| causes(&error));
        Ok(Egress {
            allow: patterns(&network.allow)?,
            ahead: patterns(&network.ahead)?,
            private: patterns(&network.private)?,
            public: built(client().dns_resolver(Arc::new(PublicOnly)))?,
            local: built(client())?,
            secrets: Secrets::new(secrets)?,
            turns: Semaphore::new(SENDING_MAX),
        })
    }

    /// Whether the user's configuration lists a host.
    pub(crate) fn lists(&self, target: &Target) -> bool {
        self.allow.iter().any(|pattern| pattern.matches(target))
    }

    /// Whether it may be asked ahead of a verdict.
    pub(crate) fn lists_ahead(&self, target: &Target) -> bool {
        self.ahead.iter().any(|pattern| pattern.matches(target))
    }

    /// Why no tool may reach a host, whatever policy says: its address is none of the
    /// internet's, and the user does not list it as private.
    pub(crate) fn out_of_reach(&self, target: &Target) -> Option<String> {
        let address = target.ip()?;
        (!is_public(address) && !self.is_private(target)).then(|| prohibited(&target.host))
    }

    fn is_private(&self, target: &Target) -> bool {
        self.private.iter().any(|pattern| pattern.matches(target))
    }

    /// Sends a request, and reads its response to the end.
    ///
    /// # Errors
    /// What went wrong, and whether the request may have been sent.
    pub(crate) async fn send(
        &self,
        target: &Target,
        request: &HttpRequest,
    ) -> Result<HttpResponse, Unsent> {
        if let Some(reason) = self.out_of_reach(target) {
            return Err(Unsent::never(EgressRefusal::Address, reason));
        }
        let client = match self.is_private(target) {
            true => &self.local,
            false => &self.public,
        };
        if matches!(request.method.as_str(), "CONNECT" | "TRACE") {
            let reason = format!("no tool may send {}", request.method);
            return Err(Unsent::never(EgressRefusal::Denied, reason));
        }
        // What was let out is sent, some at a time.
        let _turn = self.turns.acquire().await;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|error| Unsent::never(EgressRefusal::Failed, error.to_string()))?;
        let mut sending = client.request(method, target.url.clone());
        let mut has_secret = false;
        let mut headers: Vec<_> = request.headers.iter().collect();
        headers.sort_by_key(|(_, value)| !value.contains("{{secret:"));
        for (name, given) in headers {
            let value = self.secrets.put_in(given, target);
            let value = value.map_err(|reason| Unsent::never(EgressRefusal::Denied, reason))?;
            has_secret |= value.is_some();
            // A secret that comes back packed, or in parts, would not be found.
            if has_secret && matches!(name.as_str(), "accept-encoding" | "range") {
                continue;
            }
            sending = sending.header(name, value.as_deref().unwrap_or(given));
        }
        if !request.body.is_empty() {
            sending = sending.body(request.body.clone());
        }
        let mut response = sending
            .send()
            .await
            .map_err(|error| unsent(target, &error))?;
        let late = |error: reqwest::Error| Unsent {
            maybe_sent: true,
            ..unsent(target, &error)
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(late)? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(Unsent {
                    why: EgressRefusal::TooLarge,
                    reason: format!(
                        "the response of {} has more than {} MiB",
                        target.host,
                        RESPONSE_BYTES_MAX >> 20
                    ),
                    maybe_sent: true,
                });
            }
            body.extend_from_slice(&chunk);
        }
        let mut left = RESPONSE_HEADER_BYTES_MAX;
        let mut headers = Vec::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            left = left.saturating_sub(name.as_str().len() + value.len());
            if left == 0 {
                break;
            }
            headers.push((name.as_str().to_owned(), self.secrets.scrub(&value)));
        }
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers,
            body: self.secrets.scrub_bytes(body),
        })
    }
}

impl Unsent {
    fn never(why: EgressRefusal, reason: String) -> Unsent {
        Unsent {
            why,
            reason,
            maybe_sent: false,
        }
    }
}

/// Looks names up, and leaves out what is no address of the internet.
struct PublicOnly;

/// A name that stands for nothing but such addresses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Prohibited(String);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(|address| is_public(address.ip()))
                .collect();
            if public.is_empty() && !found.is_empty() {
                return Err(Prohibited(prohibited(name.as_str())).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn prohibited(host: &str) -> String {
    format!(
        "{host} is an address of this machine or its networks, which no tool may reach; the \
         user can list it under [network] private"
    )
}

fn unsent(target: &Target, error: &reqwest::Error) -> Unsent {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(prohibited) = cause.downcast_ref::<Prohibited>() {
            return Unsent::never(EgressRefusal::Address, prohibited.to_string());
        }
        source = cause.source();
    }
    let host = &target.host;
    let (why, reason) = if error.is_connect() && error.is_timeout() {
        (
            EgressRefusal::Unreachable,
            format!("{host} can not be reached in time"),
        )
    } else if error.is_timeout() {
        (
            EgressRefusal::Late,
            format!("{host} did not answer in time"),
        )
    } else if error.is_connect() {
        (
            EgressRefusal::Unreachable,
            format!("{host} can not be reached: {}", causes(error)),
        )
    } else {
        (EgressRefusal::Failed, format!("{host}: {}", causes(error)))
    };
    Unsent {
        why,
        reason,
        maybe_sent: !error.is_connect() && !error.is_builder(),
    }
}

/// Why, as far down as it goes. The address is known to who asks.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    match text.is_empty() {
        true => error.to_string(),
        false => text,
    }
}

/// Trusts what the system trusts; nobody, if that can not be told.
fn tls() -> Result<rustls::ClientConfig, String> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match builder.clone().with_platform_verifier() {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(%error, "the system's certificates can not be used: no https");
            builder.with_root_certificates(rustls::RootCertStore::empty())
        }
    };
    Ok(builder.with_no_client_auth())
}
