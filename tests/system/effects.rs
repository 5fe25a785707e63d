//! What actions send: nothing before the verdict, once after it, never again, and never to
//! where no tool may go. Every request that leaves is counted by a real server.

use crate::support::{Home, PATIENCE, Plan, events_until, presented};
use forerun_sdk::{ActOutcome, Acted, Action, Hit, ObservationStatus, Role, Session};
use forerun_types::{EffectEnd, Event, EventKind, StepIndex, View};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server of this machine that notes what it is asked.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What a server does before it answers, with the path.
type Meanwhile = Arc<dyn Fn(&str) + Send + Sync>;

impl Server {
    async fn start() -> Server {
        Server::with(Arc::new(|_| {})).await
    }

    /// The same behind TLS, as `localhost`.
    async fn secured(certificate: &Path, key: &Path) -> Server {
        let certificates = CertificateDer::pem_file_iter(certificate).expect("a certificate");
        let certificates = certificates.collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .expect("fits");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Server::listening(move |server, stream| {
            let acceptor = acceptor.clone();
            async move {
                let stream = acceptor.accept(stream).await.ok()?;
                server.answer(stream, Arc::new(|_| {})).await
            }
        })
        .await
    }

    async fn with(meanwhile: Meanwhile) -> Server {
        Server::listening(move |server, stream| {
            let meanwhile = Arc::clone(&meanwhile);
            async move { server.answer(stream, meanwhile).await }
        })
        .await
    }

    /// Has each connection answered in a task of its own.
    async fn listening<A>(answer: impl Fn(Server, TcpStream) -> A + Send + 'static) -> Server
    where
        A: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let server = Server {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(serving.clone(), stream));
            }
        });
        server
    }

    /// Answers one request after the other.
    async fn answer(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        meanwhile: Meanwhile,
    ) -> Option<()> {
        let mut read = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await.ok()? {
                    0 => return None,
                    n => read.extend_from_slice(&piece[..n]),
                }
            };
            let text = String::from_utf8_lossy(&read[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
            while read.len() < head + length {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await.ok()? {
                    0 => return None,
                    n => read.extend_from_slice(&piece[..n]),
                }
            }
            let request = String::from_utf8_lossy(&read[..head + length]).into_owned();
            read.drain(..head + length);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            self.seen.lock().expect("no panic").push(request);
            meanwhile(&path);
            let (status, more, body) = match path.split_once("?to=") {
                Some((_, to)) => ("302 Found", format!("location: {to}\r\n"), String::new()),
                None if path == "/hang" => std::future::pending().await,
                None if path == "/page" => (
                    "200 OK",
                    "content-type: text/html\r\n".to_owned(),
                    "<html><script>no()</script><h1>Title</h1><p>Some <b>text</b>.</p>".to_owned(),
                ),
                // As a careless service does: it says who asked.
                None if path == "/echo" => {
                    let said = server_request(&self.seen());
                    (
                        "200 OK",
                        "x-who: %\r\n".replace('%', &bearer_of(&said)),
                        said,
                    )
                }
                None if path == "/missing" => ("404 Not Found", String::new(), "nothing".into()),
                None => ("200 OK", String::new(), format!("you asked for {path}")),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The first lines of all requests.
    fn lines(&self) -> Vec<String> {
        let lines = self.seen();
        let lines = lines
            .iter()
            .map(|text| text.lines().next().unwrap_or_default().to_owned());
        lines.map(|line| line.replace(" HTTP/1.1", "")).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A home whose user lists the server.
    fn home(&self, more: &str) -> Home {
        let address = self.address;
        let home = Home::with_config(&format!(
            "[network]\nallow = [\"{address}\"]\nprivate = [\"{address}\"]\n{more}"
        ));
        warm(&home);
        home
    }
}

/// Has the component of `fetch` compiled, so that it can run ahead.
fn warm(home: &Home) {
    home.output(&["tool", "call", "fetch", r#"{"url": "http://127.0.0.1:1/"}"#]);
}

fn action(tool: &str, arguments: serde_json::Value) -> Action {
    Action::parse(tool, &arguments.to_string()).expect("valid")
}

fn post(url: &str) -> Action {
    action(
        "send_request",
        json!({ "method": "POST", "url": url, "body": "hello" }),
    )
}

fn fetch(url: &str) -> Action {
    action("fetch", json!({ "url": url }))
}

fn write(path: &str) -> Action {
    action("write_file", json!({ "path": path, "content": "x" }))
}

/// Adds the test program as a tool of texts, which become its arguments.
fn add_program(home: &Home, name: &str, argv: &str, texts: &[&str]) {
    let (program, manifest) = (home.path("program.wasm"), home.path("program.toml"));
    fs::write(&program, forerun_test_guests::COMMAND).expect("writes");
    let properties = texts
        .iter()
        .map(|text| format!("{text} = {{ type = \"string\" }}\n"));
    let text = format!(
        "name = {name:?}\ntitle = {name:?}\ndescription = \"Sends requests.\"\n\
         speculation = \"contained\"\nopen_world = true\nargv = {argv}\n\
         [input_schema]\ntype = \"object\"\nrequired = {texts:?}\n\
         [input_schema.properties]\n{}",
        properties.collect::<String>()
    );
    fs::write(&manifest, text).expect("writes");
    let [program, manifest] = [program, manifest].map(|path| path.display().to_string());
    home.succeed(&["tool", "add", &program, "--manifest", &manifest]);
}

/// A session on `work` with two plans.
async fn open(home: &Home, guess: &[Action], truth: &[Action], review: Duration) -> Session {
    let client = home.client().await;
    let session = client
        .session(home.workspace("work"))
        .task("send")
        .review(review);
    let session = session.open().await.expect("a session");
    for (role, plan) in [(Role::Approximation, guess), (Role::Target, truth)] {
        let attached = session.attach(role, Plan(plan.to_vec(), role)).await;
        attached.expect("attached");
    }
    session
}

/// A session of its own loop.
async fn loop_of_ones_own(home: &Home, policy: &str) -> Session {
    let client = home.client().await;
    let session = client.session(home.workspace("work")).policy(policy);
    session.open().await.expect("a session")
}

async fn act(session: &Session, action: Action) -> Acted {
    let done = tokio::time::timeout(PATIENCE, session.act(action)).await;
    match done.expect("in time").expect("done").outcome {
        ActOutcome::Done(acted) => acted,
        pending @ ActOutcome::Pending { .. } => panic!("{pending:?}"),
    }
}

fn is_held(kind: &EventKind) -> bool {
    matches!(kind, EventKind::EffectHeld { .. })
}

/// How requests ended, in order.
fn ends(events: &[Event]) -> Vec<EffectEnd> {
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::EffectEnded { end, .. } => Some(*end),
        _ => None,
    });
    ends.collect()
}

fn at(events: &[Event], found: impl Fn(&EventKind) -> bool) -> usize {
    let found = events.iter().position(|event| found(&event.kind));
    found.unwrap_or_else(|| panic!("not found in {events:#?}"))
}

#[tokio::test]
async fn a_request_waits_for_its_verdict_and_goes_out_once() {
    let server = Server::start().await;
    let home = server.home("");
    let plan = [write("a.txt"), post(&server.url("/items"))];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    events_until(&session, View::Trace, is_held).await;
    assert!(server.seen().is_empty(), "it is on the wire");
    presented(&session).await;
    let ended = |kind: &EventKind| matches!(kind, EventKind::Ended { .. });
    let events = events_until(&session, View::Trace, ended).await;
    assert_eq!(server.lines(), ["POST /items"]);
    let request = server.seen().remove(0).to_lowercase();
    assert!(
        request.contains("idempotency-key: \"") && request.ends_with("hello"),
        "{request}"
    );

    let of = |step| StepIndex(step);
    let held = at(&events, is_held);
    let decided = at(
        &events,
        |kind| matches!(kind, EventKind::Decided { step, .. } if *step == of(1)),
    );
    let before = at(
        &events,
        |kind| matches!(kind, EventKind::Verified { step, .. } if *step == of(0)),
    );
    let sent = at(&events, |kind| matches!(kind, EventKind::EffectSent { .. }));
    let answered = at(&events, |kind| {
        matches!(
            kind,
            EventKind::EffectEnded {
                end: EffectEnd::Answered,
                ..
            }
        )
    });
    let verified = at(
        &events,
        |kind| matches!(kind, EventKind::Verified { step, .. } if *step == of(1)),
    );
    assert!(held < decided && decided < sent && before < sent && sent < answered);
    assert!(answered < verified);
    // The execution that ran ahead is the one that was adopted.
    let executions = events.iter().filter(
        |event| matches!(&event.kind, EventKind::ExecutionStarted { step, .. } if *step == of(1)),
    );
    assert_eq!(executions.count(), 1);
}

#[tokio::test]
async fn what_is_not_the_verdict_is_never_sent() {
    let server = Server::start().await;
    let home = server.home("");
    let guess = [post(&server.url("/wrong")), post(&server.url("/below"))];
    let session = open(
        &home,
        &guess,
        &[write("a.txt"), write("b.txt")],
        Duration::ZERO,
    )
    .await;
    events_until(&session, View::Trace, is_held).await;
    presented(&session).await;
    assert_eq!(server.lines(), [""; 0]);

    // Nor what stands on a step that turned out another way.
    let guess = [write("wrong.txt"), post(&server.url("/squashed"))];
    let truth = [write("right.txt"), write("b.txt")];
    let session = open(&home, &guess, &truth, Duration::ZERO).await;
    events_until(&session, View::Trace, is_held).await;
    presented(&session).await;
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn a_review_window_is_over_before_anything_is_sent() {
    let server = Server::start().await;
    let home = server.home("");
    let plan = [post(&server.url("/replaced"))];
    let session = open(&home, &plan, &plan, Duration::from_secs(30)).await;
    let reviewed = |kind: &EventKind| matches!(kind, EventKind::ReviewOpened { .. });
    events_until(&session, View::Presented, reviewed).await;
    session
        .replace(0, write("instead.txt"))
        .await
        .expect("in review");
    let second = |kind: &EventKind| matches!(kind, EventKind::Verified { step, .. } if step.0 == 0);
    events_until(&session, View::Presented, second).await;
    assert_eq!(server.lines(), [""; 0]);
    assert!(home.path("work/instead.txt").exists());
    session.stop().await.expect("stops");
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_a_question_and_a_refusal_sends_nothing() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (listed, private) = (server.address, other.address);
    let home = Home::with_config(&format!(
        "[network]\nallow = [\"{listed}\"]\nprivate = [\"{private}\"]\n"
    ));
    warm(&home);
    let plan = [
        post(&other.url("/one")),
        post(&other.url("/two")),
        post(&other.url("/three")),
    ];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    let id = session.id().to_string();
    let asked = |step: u32| move |kind: &EventKind| matches!(kind, EventKind::ApprovalRequested { step: of, .. } if of.0 == step);
    let events = events_until(&session, View::Presented, asked(0)).await;
    let last = events
        .last()
        .map(|event| format!("{:?}", event.kind))
        .unwrap_or_default();
    assert!(
        last.contains("requests-to-other-hosts") && last.contains("/one"),
        "{last}"
    );
    home.succeed(&["refuse", &id, "not there"]);
    events_until(&session, View::Presented, asked(1)).await;
    assert_eq!(other.lines(), [""; 0]);
    home.succeed(&["approve", &id, "--for-session"]);
    let events = presented(&session).await;
    assert_eq!(
        other.lines(),
        ["POST /two", "POST /three"],
        "the like is not asked again"
    );
    assert_eq!(
        ends(&events),
        [EffectEnd::Refused, EffectEnd::Answered, EffectEnd::Answered]
    );
    let refused = events.iter().find_map(|event| match &event.kind {
        EventKind::Observed {
            step, observation, ..
        } if step.0 == 0 => Some(observation),
        _ => None,
    });
    let refused = refused.expect("an observation");
    assert_eq!(refused.status, ObservationStatus::Denied);
    assert!(refused.text.contains("not there"), "{}", refused.text);
}

#[tokio::test]
async fn a_listed_host_may_be_read_from_ahead_if_the_user_says_so() {
    let server = Server::start().await;
    let home = server.home(&format!("ahead = [\"{}\"]\n", server.address));
    let plan = [fetch(&server.url("/page")), fetch(&server.url("/second"))];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    presented(&session).await;
    let ended = |kind: &EventKind| matches!(kind, EventKind::Ended { .. });
    let events = events_until(&session, View::Trace, ended).await;
    assert!(!events.iter().any(|event| is_held(&event.kind)));
    let sent = at(&events, |kind| matches!(kind, EventKind::EffectSent { .. }));
    let decided = at(&events, |kind| matches!(kind, EventKind::Decided { .. }));
    assert!(sent < decided, "it ran ahead");
    assert_eq!(server.lines(), ["GET /page", "GET /second"]);
}

#[tokio::test]
async fn a_reading_that_nobody_answered_in_time_is_not_called_unsent() {
    let server = Server::start().await;
    let home = server.home("timeout_ms = 300\n");
    let session = loop_of_ones_own(&home, "workspace-write").await;
    let late = act(&session, fetch(&server.url("/hang"))).await;
    assert_eq!(late.observation.status, ObservationStatus::ToolError);
    assert!(
        late.observation.text.contains("did not answer in time"),
        "{late:?}"
    );
    let ended = |kind: &EventKind| matches!(kind, EventKind::EffectEnded { .. });
    let events = events_until(&session, View::Presented, ended).await;
    assert_eq!(ends(&events), [EffectEnd::Unknown]);
    assert_eq!(server.lines(), ["GET /hang"]);
}

#[tokio::test]
async fn pages_come_as_text_and_errors_as_errors() {
    let server = Server::start().await;
    let home = server.home("");
    let session = loop_of_ones_own(&home, "network-allow-list").await;
    let page = act(&session, fetch(&server.url("/page"))).await;
    assert_eq!(page.hit, Hit::None);
    let text = &page.observation.text;
    assert!(
        text.contains("# Title") && text.contains("**text**"),
        "{text}"
    );
    assert!(!text.contains("no()"), "{text}");
    let missing = act(&session, fetch(&server.url("/missing"))).await;
    assert_eq!(missing.observation.status, ObservationStatus::ToolError);
    assert!(missing.observation.text.contains("answered 404: nothing"));
    let followed = act(&session, fetch(&server.url("/from?to=/there"))).await;
    assert_eq!(followed.observation.text, "you asked for /there");
    let sent = act(&session, post(&server.url("/from?to=/there"))).await;
    let structured = sent.observation.structured.unwrap_or_default();
    assert!(
        structured.contains(r#""location":"/there""#),
        "{structured}"
    );
}

#[tokio::test]
async fn no_spelling_of_an_address_of_this_machine_is_reached() {
    let server = Server::start().await;
    let port = server.address.port();
    // Everything is permitted: what is refused is refused whatever policy says.
    let home = Home::with_config("");
    let set = home.path("config/forerun/policies/all");
    fs::create_dir_all(&set).expect("makes");
    let all = "@id(\"all\") permit (principal, action, resource);";
    fs::write(set.join("policy.cedar"), all).expect("writes");
    let session = loop_of_ones_own(&home, "all").await;
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "10.0.0.1",
    ] {
        let url = format!("http://{host}:{port}/secret");
        let denied = act(&session, fetch(&url)).await;
        assert_eq!(
            denied.observation.status,
            ObservationStatus::Denied,
            "{url}: {denied:?}"
        );
        assert!(
            denied.observation.text.contains("no tool may reach"),
            "{url}: {denied:?}"
        );
    }
    for odd in [
        "http://user@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "/etc/passwd",
    ] {
        let refused = act(&session, fetch(odd)).await;
        assert_ne!(
            refused.observation.status,
            ObservationStatus::Success,
            "{odd}"
        );
    }
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn redirects_lead_nowhere_that_a_request_may_not_go() {
    let (server, inner) = (Server::start().await, Server::start().await);
    let home = server.home("");
    let session = loop_of_ones_own(&home, "network-allow-list").await;
    for to in [
        inner.url("/secret"),
        format!("http://localhost:{}/secret", inner.address.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "https://elsewhere.example/".to_owned(),
    ] {
        let denied = act(&session, fetch(&server.url(&format!("/from?to={to}")))).await;
        assert_eq!(
            denied.observation.status,
            ObservationStatus::Denied,
            "{to}: {denied:?}"
        );
    }
    assert_eq!(inner.lines(), [""; 0]);
    assert_eq!(server.seen().len(), 5);
    // One that leads to itself ends.
    let own = server.url("/from?to=/from?to=/a");
    let around = format!("/from?to={own}");
    let _ = act(&session, fetch(&server.url(&around))).await;
}

#[tokio::test]
async fn a_request_can_not_be_bent_by_its_headers() {
    let server = Server::start().await;
    let home = server.home("");
    let session = loop_of_ones_own(&home, "network-allow-list").await;
    for headers in [
        json!({ "host": "elsewhere.example" }),
        json!({ "a": "b\r\nx-injected: 1" }),
        json!({ "a\r\nb": "c" }),
        json!({ "transfer-encoding": "chunked" }),
        json!({ "connection": "upgrade" }),
        json!({ "x": "{{secret:unknown}}" }),
    ] {
        let call = json!({ "url": server.url("/page"), "headers": headers });
        let refused = act(&session, action("fetch", call)).await;
        assert_ne!(
            refused.observation.status,
            ObservationStatus::Success,
            "{headers}"
        );
    }
    for path in ["/a b", "/a\r\nx: y", "/\u{e9}"] {
        let _ = act(&session, fetch(&server.url(path))).await;
    }
    for request in server.seen() {
        let host = format!("host: {}", server.address);
        assert!(request.to_lowercase().contains(&host), "{request}");
        assert!(!request.to_lowercase().contains("\nx: y"), "{request}");
    }
}

#[tokio::test]
async fn a_secret_reaches_its_host_over_tls_and_no_tool_log_or_file() {
    const SECRET: &str = "correct-horse-battery";
    let mut home = Home::without_daemon();
    let (certificate, key) = home.certificate();
    let server = Server::secured(&certificate, &key).await;
    let host = format!("localhost:{}", server.address.port());
    home.set("SSL_CERT_FILE", certificate.display());
    home.set("FORGE_TOKEN", SECRET);
    home.configure(&format!(
        "[network]\nallow = [\"{host}\"]\nprivate = [\"{host}\"]\n\
         [secrets.forge]\nenv = \"FORGE_TOKEN\"\nhosts = [\"{host}\"]\n"
    ));
    home.start_daemon();
    warm(&home);
    let session = loop_of_ones_own(&home, "network-allow-list").await;
    let url = format!("https://{host}/echo");
    let headers = json!({ "authorization": "Bearer {{secret:forge}}" });
    let answered = act(
        &session,
        action("fetch", json!({ "url": url, "headers": headers })),
    )
    .await;
    let text = &answered.observation.text;
    assert_eq!(
        answered.observation.status,
        ObservationStatus::Success,
        "{text}"
    );
    assert_eq!(bearer_of(&server.seen()[0]), SECRET, "the host has it");
    assert!(
        text.contains("you said") && !text.contains(SECRET),
        "{text}"
    );

    // Not by another name of the same machine, nor without TLS.
    for other in [
        format!("https://127.0.0.1:{}/echo", server.address.port()),
        format!("http://{host}/echo"),
    ] {
        let call = action("fetch", json!({ "url": other, "headers": headers }));
        let refused = act(&session, call).await.observation;
        assert_ne!(refused.status, ObservationStatus::Success, "{other}");
    }
    assert_eq!(server.seen().len(), 1);

    // It is in no file of the session's or the daemon's: neither log, journal nor workspace.
    session.stop().await.expect("stops");
    presented(&session).await;
    let log = home.succeed(&["log", "export", &session.id().to_string()]);
    assert!(
        log.contains("secret:forge") && !log.contains(SECRET),
        "{log}"
    );
    for place in ["state", "work", "tmp"] {
        for file in files(&home.path(place)) {
            let bytes = fs::read(&file).unwrap_or_default();
            let found = bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
            assert!(!found, "{}", file.display());
        }
    }
    let daemon_log = fs::read_to_string(home.path("daemon.log")).expect("reads");
    assert!(!daemon_log.contains(SECRET));
}

/// All files below a directory.
fn files(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    below.collect()
}

/// What the last request was, with its headers.
fn server_request(seen: &[String]) -> String {
    format!("you said:\n{}", seen.last().map_or("", String::as_str))
}

/// The token that a request carries.
fn bearer_of(request: &str) -> String {
    let mut lines = request.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let value = value.strip_prefix("Bearer ")?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.to_owned())
    });
    lines.next_back().unwrap_or_default()
}

#[tokio::test]
async fn a_path_can_not_pose_as_another_address() {
    let (server, inner) = (Server::start().await, Server::start().await);
    let home = server.home("");
    // Sends what it is told, however odd.
    add_program(&home, "ask", r#"["ask={host} {path}"]"#, &["host", "path"]);
    let session = loop_of_ones_own(&home, "network-allow-list").await;
    let own = server.address.to_string();
    let ask = |host: &str, path: &str| action("ask", json!({ "host": host, "path": path }));
    assert_eq!(
        act(&session, ask(&own, "/plain")).await.observation.text,
        "200\n"
    );
    for (host, path) in [
        // The form that is meant for proxies names a host of its own.
        (own.clone(), inner.url("/secret")),
        (own.clone(), "//elsewhere.example/".to_owned()),
        (own.clone(), "*".to_owned()),
        (own.clone(), "/a HTTP/1.1\r\nx: y\r\n\r\nGET /b".to_owned()),
        (format!("user@{own}"), "/".to_owned()),
        (format!("elsewhere.example@{own}"), "/".to_owned()),
        (format!("{}#@{own}", inner.address), "/".to_owned()),
        (format!("{own}\r\nhost: elsewhere.example"), "/".to_owned()),
    ] {
        let _ = act(&session, ask(&host, &path)).await;
    }
    assert_eq!(inner.lines(), [""; 0]);
    for request in server.seen() {
        let text = request.to_lowercase();
        assert!(text.starts_with("post /"), "{request}");
        assert!(text.contains(&format!("host: {own}\r\n")), "{request}");
        assert!(
            !text.contains("x: y") && !text.contains("host: elsewhere"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn what_was_read_as_sensitive_makes_every_later_request_a_question() {
    let server = Server::start().await;
    let home = server.home(&format!("ahead = [\"{}\"]\n", server.address));
    let workspace = home.workspace("work");
    fs::write(workspace.join(".env"), "TOKEN=abc\n").expect("writes");
    let read = action("read_file", json!({ "path": ".env" }));
    let plan = [
        fetch(&server.url("/before")),
        read,
        fetch(&server.url("/TOKEN=abc")),
    ];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    let asked = |kind: &EventKind| matches!(kind, EventKind::ApprovalRequested { .. });
    let events = events_until(&session, View::Presented, asked).await;
    let last = events
        .last()
        .map(|event| format!("{:?}", event.kind))
        .unwrap_or_default();
    assert!(last.contains("after-something-sensitive"), "{last}");
    assert_eq!(server.lines(), ["GET /before"]);
    home.succeed(&["refuse", &session.id().to_string(), "no"]);
    presented(&session).await;
    assert_eq!(server.lines(), ["GET /before"]);
}

#[tokio::test]
async fn a_conflict_after_the_request_does_not_send_it_again() {
    let place: Arc<Mutex<Option<std::path::PathBuf>>> = Arc::default();
    let theirs = Arc::clone(&place);
    // While the request is on its way, a person makes the file that the action is to make.
    let server = Server::with(Arc::new(move |path| {
        if path == "/publish"
            && let Some(path) = theirs.lock().expect("no panic").take()
        {
            fs::write(path, "a person's\n").expect("writes");
        }
    }))
    .await;
    let home = server.home("");
    // Writes a file, then posts.
    let argv = r#"["write={file}:done", "post={url}"]"#;
    add_program(&home, "publish", argv, &["url", "file"]);
    let workspace = home.workspace("work");
    *place.lock().expect("no panic") = Some(workspace.join("out.txt"));
    let publish = action(
        "publish",
        json!({ "url": server.url("/publish"), "file": "out.txt" }),
    );
    let plan = [publish];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    let mut events = Vec::new();
    let stalls_or_ends =
        |kind: &EventKind| matches!(kind, EventKind::Stalled { .. } | EventKind::Ended { .. });
    events.extend(events_until(&session, View::Presented, stalls_or_ends).await);
    if matches!(
        events.last().map(|event| &event.kind),
        Some(EventKind::Stalled { .. })
    ) {
        session.retry().await.expect("stalled");
    }
    let events = presented(&session).await;
    assert_eq!(server.lines(), ["POST /publish"], "{events:#?}");
    assert_eq!(
        ends(&events),
        [EffectEnd::Answered, EffectEnd::Replayed],
        "{events:#?}"
    );
    let text = fs::read_to_string(workspace.join("out.txt")).expect("reads");
    assert_eq!(text, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_verdict_sends_nothing_and_one_after_it_never_twice() {
    let server = Server::start().await;
    let mut home = server.home("");
    let plan = [post(&server.url("/held"))];
    let session = open(&home, &plan, &[], Duration::ZERO).await;
    events_until(&session, View::Trace, is_held).await;
    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    home.start_daemon();
    assert_eq!(server.lines(), [""; 0]);

    let plan = [post(&server.url("/hang"))];
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    let id = session.id().to_string();
    home.wait_until("it is sent", || !server.seen().is_empty());
    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    home.start_daemon();
    let log = home.succeed(&["watch", &id, "--json"]);
    let events = crate::support::events(&log);
    assert_eq!(ends(&events), [EffectEnd::Unknown], "{log}");
    let shown = home.succeed(&["watch", &id]);
    assert!(shown.contains("nobody knows what became of it"), "{shown}");
    assert_eq!(server.lines(), ["POST /hang"]);

    // A daemon that stops in good order says so as well.
    let session = open(&home, &plan, &plan, Duration::ZERO).await;
    let id = session.id().to_string();
    home.wait_until("it is sent", || server.seen().len() == 2);
    home.succeed(&["shutdown"]);
    home.daemon().wait().expect("gone");
    home.start_daemon();
    let log = home.succeed(&["watch", &id, "--json"]);
    assert_eq!(
        ends(&crate::support::events(&log)),
        [EffectEnd::Unknown],
        "{log}"
    );
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_did_not_get_through_does_not_count_as_sent() {
    let server = Server::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let closed = gone.local_addr().expect("an address");
    drop(gone);
    let own = server.address;
    let home = Home::with_config(&format!(
        "[network]\nallow = [\"{own}\", \"{closed}\"]\nprivate = [\"{own}\", \"{closed}\"]\n"
    ));
    // Posts to where nobody is, and then to somebody.
    add_program(
        &home,
        "tries",
        r#"["try={closed}", "post={url}"]"#,
        &["closed", "url"],
    );
    let session = loop_of_ones_own(&home, "workspace-write").await;
    let tries = |url: String| {
        let closed = format!("http://{closed}/");
        action("tries", json!({ "closed": closed, "url": url }))
    };
    // What comes after it in the same action is sent.
    let both = act(&session, tries(server.url("/after"))).await;
    assert!(
        both.observation.text.ends_with("200\n"),
        "{}",
        both.observation.text
    );
    assert_eq!(server.lines(), ["POST /after"]);
    let refused = act(&session, post(&format!("http://{closed}/"))).await;
    assert_eq!(refused.observation.status, ObservationStatus::ToolError);
    assert!(
        refused.observation.text.contains("can not be reached"),
        "{refused:?}"
    );
    // Nothing was sent by the second step: going back to it is nothing to think about.
    let id = session.id().to_string();
    home.succeed(&["backtrack", &id, "1", "--suggest", "another way"]);
    let back = |kind: &EventKind| matches!(kind, EventKind::Backtracked { .. });
    events_until(&session, View::Presented, back).await;
    home.fail(75, &["backtrack", &id, "0", "--suggest", "another way"]);
}

#[tokio::test]
async fn going_back_before_what_was_sent_has_to_be_meant() {
    let server = Server::start().await;
    let home = server.home("");
    let session = loop_of_ones_own(&home, "workspace-write").await;
    act(&session, write("a.txt")).await;
    act(&session, post(&server.url("/sent"))).await;
    act(&session, write("b.txt")).await;
    let id = session.id().to_string();
    let back = ["backtrack", &id, "1", "--suggest", "another way"];
    let refused = home.fail(75, &back);
    assert!(
        refused.contains("POST") && refused.contains("--keep-effects"),
        "{refused}"
    );
    assert!(home.path("work/b.txt").exists());
    home.succeed(&["backtrack", &id, "2", "--suggest", "only the file"]);
    let went_back = |to: u32| move |kind: &EventKind| matches!(kind, EventKind::Backtracked { step, .. } if step.0 == to);
    events_until(&session, View::Presented, went_back(2)).await;
    home.succeed(&[&back[..], &["--keep-effects"]].concat());
    events_until(&session, View::Presented, went_back(1)).await;
    let again = act(&session, write("c.txt")).await;
    assert_eq!(again.step.0, 1);
    assert!(!home.path("work/b.txt").exists());
    assert_eq!(server.lines(), ["POST /sent"]);
}
