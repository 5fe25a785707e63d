//! Calls a model's server: one streamed request, repeated where that may help.
//!
//! ```text
//!  send ──▶ headers ──▶ chunks ──▶ complete ──▶ reply
//!   │         │           │
//!   │         │           ├─ broken off, malformed ──▶ again, after a pause
//!   │         │           └─ silent, over a limit ───▶ failed
//!   │         ├─ 408, 500… ──▶ again, after a pause
//!   │         ├─ 429 ────────▶ rate limited, at once: who asks knows better what to do
//!   │         └─ 400, 401… ──▶ failed
//!   └─ not connected ──▶ again, after a pause
//! ```
//!
//! **Invariants**
//! - Dropping a call closes its connection: HTTP/1.1 is spoken and a connection carries one
//!   request at a time, so that nothing has to be agreed with the server.
//! - Redirects are not followed: the key goes to the server that was named.
//! - Nothing that a server sends is held beyond a limit, and the key is taken out of it.

use super::error::{CallError, ModelError, said};
use super::key::ApiKey;
use super::options::CallOptions;
use super::spec::Protocol;
use super::sse::Decoder;
use super::turn::{Answer, Fold, Reply, Turn};
use super::{anthropic, openai};
use crate::agent::AgentError;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Most bytes of one reply: stops a stream that never ends.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// Most bytes of an error's body that are read: stops an error page that never ends.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// How often a request that failed is sent again.
const REPEATS_MAX: u32 = 2;
/// The first pause before that; the next one is twice as long. Up to half of it is added
/// at random, so that agents that failed together do not come back together.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest pause that a server may ask for and that is waited for here.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long to wait after a 429 that does not say it.
const RATE_LIMIT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest wait that a 429 may ask for: stops a server from ending a session by a date
/// in another century.
const RATE_LIMIT_MAX: Duration = Duration::from_secs(60 * 60);
/// How long the end of a body is waited for once all of the answer is there: a connection
/// whose last response was read to its end is used again.
const END_PATIENCE: Duration = Duration::from_millis(50);
/// Bytes of a token of English or code, for reporting progress before the server counts.
const BYTES_PER_TOKEN: usize = 4;

/// A model's server, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Server {
    protocol: Protocol,
    model: String,
    url: Url,
    key: Option<ApiKey>,
    options: CallOptions,
    client: Client,
}

impl Server {
    pub(super) fn new(
        protocol: Protocol,
        model: &str,
        base_url: &str,
        key: Option<ApiKey>,
        options: CallOptions,
    ) -> Result<Server, ModelError> {
        let url = address(base_url, protocol)?;
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https")?)
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect())
            .user_agent(concat!("forerun/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(&url) {
            // A proxy would not reach it.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| ModelError::Tls {
            problem: causes(&error),
        })?;
        Ok(Server {
            protocol,
            model: model.to_owned(),
            url,
            key,
            options,
            client,
        })
    }

    /// Asks, and repeats what may work the next time. `progress` is told how many tokens
    /// were generated so far, about.
    pub(super) async fn ask(
        &self,
        turn: &Turn<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Reply, CallError> {
        let body = match self.protocol {
            Protocol::OpenAi => openai::request(turn, &self.model, &self.options),
            Protocol::Anthropic => anthropic::request(turn, &self.model, &self.options),
        }
        .to_string();
        let mut pause = PAUSE_FIRST;
        let mut repeats = 0;
        loop {
            let error = match self.attempt(body.clone(), progress).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let wait = match &error {
                CallError::Server { retry_after, .. } => retry_after.unwrap_or_default().max(pause),
                _ => pause,
            };
            if !error.is_worth_repeating() || repeats == REPEATS_MAX || wait > PAUSE_MAX {
                return Err(error);
            }
            tracing::debug!(%error, model = self.model, "asking the model again");
            progress(0);
            tokio::time::sleep(wait + jitter(pause)).await;
            pause *= 2;
            repeats += 1;
        }
    }

    async fn attempt(
        &self,
        body: String,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Reply, CallError> {
        let first_byte = self.options.first_byte();
        let request = self
            .client
            .post(self.url.clone())
            .headers(self.headers())
            .body(body);
        let response = timeout(first_byte, request.send())
            .await
            .map_err(|_| silent("before it answered", first_byte))?
            .map_err(|error| match error.is_connect() || error.is_timeout() {
                true => CallError::Connect(said(&causes(&error.without_url()))),
                false => CallError::Truncated,
            })?;
        if response.status().is_success() {
            self.read(response, progress).await
        } else {
            Err(self.failed(response).await)
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        match self.protocol {
            Protocol::OpenAi => {
                let key = self.key.as_ref().and_then(|key| key.header("Bearer "));
                headers.extend(key.map(|key| (AUTHORIZATION, key)));
            }
            Protocol::Anthropic => {
                let version = HeaderValue::from_static(anthropic::VERSION);
                headers.insert("anthropic-version", version);
                if let Some(key) = self.key.as_ref().and_then(|key| key.header("")) {
                    headers.insert("x-api-key", key);
                }
            }
        }
        headers
    }

    /// Reads the reply to its end.
    async fn read(
        &self,
        mut response: Response,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Reply, CallError> {
        let mut fold: Box<dyn Fold> = match self.protocol {
            Protocol::OpenAi => Box::<openai::Chunks>::default(),
            Protocol::Anthropic => Box::<anthropic::Events>::default(),
        };
        let streamed = content_type(&response).starts_with("text/event-stream");
        let mut decoder = Decoder::default();
        let mut whole = Vec::new();
        let mut received = 0;
        let mut patience = (
            self.options.first_byte(),
            "before the first byte of its answer",
        );
        while let Some(chunk) = timeout(patience.0, response.chunk())
            .await
            .map_err(|_| silent(patience.1, patience.0))?
            .map_err(|_| CallError::Truncated)?
        {
            patience = (self.options.idle(), "in the middle of its answer");
            received += chunk.len();
            if received > REPLY_BYTES_MAX {
                return Err(CallError::Limit(format!(
                    "a reply of more than {REPLY_BYTES_MAX} bytes"
                )));
            }
            if !streamed {
                whole.extend_from_slice(&chunk);
                continue;
            }
            for event in decoder.feed(&chunk)? {
                if fold.event(&self.redact(&event))? {
                    let _ = timeout(END_PATIENCE, response.chunk()).await;
                    return checked(fold.finish());
                }
            }
            let tokens = fold.generated().div_ceil(BYTES_PER_TOKEN);
            progress(u64::try_from(tokens).unwrap_or(u64::MAX));
        }
        if !streamed {
            let text = std::str::from_utf8(&whole)
                .map_err(|_| CallError::Malformed("the body is no UTF-8".to_owned()))?;
            fold.event(&self.redact(text))?;
        }
        // Some servers end the stream without saying so; what is complete was all said.
        checked(fold.finish())
    }

    /// What a status that is no success means.
    async fn failed(&self, mut response: Response) -> CallError {
        let status = response.status();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        while body.len() < ERROR_BYTES_MAX
            && let Ok(Ok(Some(chunk))) = timeout(self.options.idle(), response.chunk()).await
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(ERROR_BYTES_MAX);
        let body = String::from_utf8_lossy(&body);
        classify(status, &Told::read(&self.redact(&body)), retry_after)
    }

    /// A text of the server without the key, which it may repeat in whatever it says.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.key {
            Some(key) => key.redact(text).into(),
            None => text.into(),
        }
    }

    /// The same for what an agent says in the end.
    pub(super) fn without_key(&self, error: AgentError) -> AgentError {
        let clean = |text: String| self.redact(&text).into_owned();
        match error {
            AgentError::Transient(text) => AgentError::Transient(clean(text)),
            AgentError::Permanent(text) => AgentError::Permanent(clean(text)),
            AgentError::RateLimited {
                reason,
                retry_after,
            } => AgentError::RateLimited {
                reason: clean(reason),
                retry_after,
            },
        }
    }
}

/// Every answer of a reply has to be one, or none counts.
fn checked(reply: Reply) -> Result<Reply, CallError> {
    if reply.answers.is_empty() {
        return Err(CallError::Truncated);
    }
    let answers = reply.answers.into_iter().map(Answer::check);
    Ok(Reply {
        answers: answers.collect::<Result<_, _>>()?,
        tokens: reply.tokens,
    })
}

/// What the body of an error says, in the form of either protocol, or as it is.
#[derive(Debug, Default)]
struct Told {
    message: String,
    /// `code` and `type`, which say what kind of error it is.
    kinds: String,
}

impl Told {
    fn read(body: &str) -> Told {
        match serde_json::from_str::<Value>(body) {
            Ok(value) => Told::of(value.get("error").unwrap_or(&value)),
            Err(_) => Told {
                message: body.to_owned(),
                kinds: String::new(),
            },
        }
    }

    fn of(error: &Value) -> Told {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = match (error.as_str(), text("message")) {
            (Some(message), _) => message.to_owned(),
            (None, "") => error.to_string(),
            (None, message) => message.to_owned(),
        };
        Told {
            message,
            kinds: format!("{} {}", text("code"), text("type")),
        }
    }

    fn is(&self, kind: &str) -> bool {
        self.kinds.split(' ').any(|one| one == kind)
    }

    fn is_about_a_long_context(&self) -> bool {
        let message = self.message.to_lowercase();
        self.is("context_length_exceeded")
            || message.contains("prompt is too long")
            || message.contains("maximum context length")
            || message.contains("context size")
            || message.contains("context window")
    }
}

fn classify(status: StatusCode, told: &Told, retry_after: Option<Duration>) -> CallError {
    let code = status.as_u16();
    let said = said(&told.message);
    if told.is("insufficient_quota") {
        return CallError::Quota(said);
    }
    match code {
        429 => CallError::RateLimited {
            said,
            retry_after: retry_after
                .unwrap_or(RATE_LIMIT_DEFAULT)
                .min(RATE_LIMIT_MAX),
        },
        408 | 409 | 500.. => CallError::Server {
            status: code,
            said,
            retry_after,
        },
        400 | 413 | 422 if told.is_about_a_long_context() => CallError::ContextTooLong(said),
        401 | 403 => CallError::Key { status: code, said },
        _ => CallError::Request { status: code, said },
    }
}

/// What an error in the middle of a stream means. It comes after a status of success, so
/// only its words say what it is.
pub(super) fn failed_stream(error: &Value) -> CallError {
    let told = Told::of(error);
    let status = [
        ("rate_limit_error", StatusCode::TOO_MANY_REQUESTS),
        ("rate_limit_exceeded", StatusCode::TOO_MANY_REQUESTS),
        ("invalid_request_error", StatusCode::BAD_REQUEST),
        ("authentication_error", StatusCode::UNAUTHORIZED),
        ("permission_error", StatusCode::FORBIDDEN),
    ]
    .into_iter()
    .find_map(|(kind, status)| told.is(kind).then_some(status))
    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    classify(status, &told, None)
}

/// `retry-after-ms`, or `retry-after` as seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1_000.0).ok();
    }
    let text = text(RETRY_AFTER.as_str())?;
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

fn address(base_url: &str, protocol: Protocol) -> Result<Url, ModelError> {
    let wrong = |problem| ModelError::BaseUrl {
        // A URL with a password is refused; it is not repeated.
        url: base_url
            .split('@')
            .next_back()
            .unwrap_or_default()
            .to_owned(),
        problem,
    };
    let mut url: Url = base_url.parse().map_err(|_| wrong("is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("is not of HTTP"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "has a user or a password; a key belongs into its variable",
        ));
    }
    // A query stays: some servers want a version there.
    let path = format!("{}/{}", url.path().trim_end_matches('/'), protocol.path());
    url.set_path(&path);
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// TLS with the certificates that the system trusts. A server without TLS is also asked on
/// a system that has none.
fn tls(needed: bool) -> Result<rustls::ClientConfig, ModelError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let failed = |error: rustls::Error| ModelError::Tls {
        problem: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(match needed {
        true => builder.with_platform_verifier().map_err(failed)?,
        false => builder.with_root_certificates(rustls::RootCertStore::empty()),
    }
    .with_no_client_auth())
}

fn content_type(response: &Response) -> &str {
    let value = response.headers().get(CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn silent(during: &'static str, after: Duration) -> CallError {
    CallError::Silent { during, after }
}

/// Up to half of a pause. Without random numbers, none.
fn jitter(pause: Duration) -> Duration {
    let draw = getrandom::u32().unwrap_or(0);
    pause.mul_f64(f64::from(draw) / f64::from(u32::MAX) / 2.0)
}

/// An error with what caused it; reqwest's own texts name only the outermost.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_below_the_base_url_and_has_no_password() {
        let openai = |base| address(base, Protocol::OpenAi).map(String::from);
        let chat = Ok("http://localhost:8080/v1/chat/completions".to_owned());
        assert_eq!(openai("http://localhost:8080/v1/"), chat);
        let anthropic = address("https://example.com", Protocol::Anthropic);
        assert_eq!(
            anthropic.map(String::from),
            Ok("https://example.com/v1/messages".to_owned())
        );
        assert_eq!(
            openai("https://host/x?version=1"),
            Ok("https://host/x/chat/completions?version=1".to_owned())
        );
        for (base, says) in [
            ("localhost:8080", "is not of HTTP"),
            ("http://", "is no URL"),
            ("http://me:secret@host/v1", "has a user or a password"),
        ] {
            let error = openai(base).expect_err(base).to_string();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_a_proxy() {
        for (url, this) in [
            ("http://localhost:1", true),
            ("http://127.0.0.7:1", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1:1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(is_this_machine(&url.parse().expect(url)), this, "{url}");
        }
    }

    #[test]
    fn a_wait_is_read_as_milliseconds_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(read("retry-after-ms", "1500"), seconds(1.5));
        assert_eq!(read("retry-after", "20"), seconds(20.0));
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
            seconds(30.0)
        );
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"),
            seconds(0.0)
        );
        for nonsense in ["soon", "-1", "1e999", "NaN"] {
            assert_eq!(read("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_an_error_means_is_told_by_its_status_and_its_kind() {
        let meaning = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            classify(status, &Told::read(body), Some(Duration::MAX))
        };
        let long = r#"{"error":{"message":"too many","code":"context_length_exceeded"}}"#;
        assert!(
            matches!(meaning(400, long), CallError::ContextTooLong(said) if said == "too many")
        );
        let long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
        assert!(matches!(meaning(400, long), CallError::ContextTooLong(_)));
        let quota = r#"{"error":{"message":"pay","type":"insufficient_quota"}}"#;
        assert!(matches!(meaning(429, quota), CallError::Quota(_)));
        assert!(matches!(
            meaning(429, ""),
            CallError::RateLimited {
                retry_after: RATE_LIMIT_MAX,
                ..
            }
        ));
        assert!(
            matches!(meaning(529, "<html>"), CallError::Server { said, .. } if said == "<html>")
        );
        assert!(matches!(meaning(401, "{}"), CallError::Key { .. }));
        assert!(matches!(meaning(404, r#"{"error":"no such model"}"#),
            CallError::Request { status: 404, said } if said == "no such model"));
        assert!(matches!(
            meaning(302, ""),
            CallError::Request { status: 302, .. }
        ));
    }
}
