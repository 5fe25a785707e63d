//! A strict server of both protocols: it checks every request that it gets, remembers it,
//! and answers as the test says. Hand-made on a socket, so that a test can cut a stream
//! anywhere, hang in the middle of it, and see the very moment in which the client leaves.

use super::rules;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long anything may take that is about to happen.
const SOON: Duration = Duration::from_secs(20);

/// What the server saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// When the client closed the connection, if it did before the response was complete.
    pub(crate) left: Option<Instant>,
}

/// A response: its parts are sent one after another.
#[derive(Clone, Debug)]
pub(crate) struct Respond {
    status: u16,
    headers: Vec<(&'static str, String)>,
    parts: Vec<String>,
    /// How long the model thinks before the first byte.
    latency: Duration,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Complete,
    /// The connection is closed before the response is complete.
    BrokenOff,
    /// Nothing more comes.
    Hang,
    /// Not even a status comes.
    Silence,
}

impl Respond {
    pub(crate) fn status(status: u16, body: &str) -> Respond {
        Respond {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            parts: vec![body.to_owned()],
            latency: Duration::ZERO,
            end: End::Complete,
        }
    }

    /// Events, each in a chunk of its own.
    pub(crate) fn events<T: AsRef<str>>(events: impl IntoIterator<Item = T>) -> Respond {
        let parts = events
            .into_iter()
            .map(|event| format!("data: {}\n\n", event.as_ref()))
            .collect();
        Respond {
            headers: vec![(
                "content-type",
                "text/event-stream; charset=utf-8".to_owned(),
            )],
            parts,
            ..Respond::status(200, "")
        }
    }

    pub(crate) fn silence() -> Respond {
        Respond {
            end: End::Silence,
            ..Respond::status(200, "")
        }
    }

    /// The same from a model that takes so long.
    pub(crate) fn after(self, latency: Duration) -> Respond {
        Respond { latency, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Respond {
        self.headers.push((name, value.into()));
        self
    }

    /// The same bytes in chunks of this size.
    pub(crate) fn cut(mut self, size: usize) -> Respond {
        let whole: Vec<char> = self.parts.concat().chars().collect();
        self.parts = whole.chunks(size).map(|cut| cut.iter().collect()).collect();
        self
    }

    pub(crate) fn broken_off(self) -> Respond {
        let end = End::BrokenOff;
        Respond { end, ..self }
    }

    pub(crate) fn hanging(self) -> Respond {
        let end = End::Hang;
        Respond { end, ..self }
    }
}

type Answer = dyn Fn(&Seen) -> Respond + Send + Sync;

/// A running server. It ends with this.
pub(crate) struct ModelServer {
    address: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    answer: Box<Answer>,
    connections: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    problems: Mutex<Vec<String>>,
}

impl ModelServer {
    /// Answers the requests in this order, and the last one's way from then on.
    pub(crate) async fn in_order(responses: Vec<Respond>) -> ModelServer {
        let next = Mutex::new(responses.into_iter().rev().collect::<Vec<_>>());
        ModelServer::answering(move |_| {
            let mut next = next.lock().expect("no test panics with it");
            match next.len() {
                1 => next[0].clone(),
                _ => next.pop().expect("one response at least"),
            }
        })
        .await
    }

    pub(crate) async fn answering(
        answer: impl Fn(&Seen) -> Respond + Send + Sync + 'static,
    ) -> ModelServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            connections: AtomicUsize::new(0),
            seen: Mutex::default(),
            problems: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        ModelServer {
            address,
            shared,
            accepting,
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Connections that were ever opened.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every request so far, each of which was as its protocol wants it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let problems = lock(&self.shared.problems);
        assert!(problems.is_empty(), "{problems:#?}");
        lock(&self.shared.seen).clone()
    }

    /// Waits for a condition on the requests so far.
    pub(crate) async fn until(&self, what: &str, met: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let start = Instant::now();
        loop {
            let seen = self.seen();
            if met(&seen) {
                return seen;
            }
            assert!(
                start.elapsed() < SOON,
                "waited in vain until {what}: {seen:#?}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some(seen) = self.request(&mut stream).await {
            let problems = rules::problems(&seen);
            let respond = match problems.is_empty() {
                true => (self.answer)(&seen),
                false => Respond::status(400, &problems.join("; ")),
            };
            lock(&self.problems).extend(problems);
            let index = {
                let mut all = lock(&self.seen);
                all.push(seen);
                all.len() - 1
            };
            if !respond.send(&mut stream).await {
                // Whatever comes now is the client's leaving.
                let mut rest = [0; 1];
                let left = stream.read(&mut rest).await;
                if !matches!(left, Ok(1..)) {
                    lock(&self.seen)[index].left = Some(Instant::now());
                }
                return;
            }
        }
    }

    /// The next request; `None` if there is none any more.
    async fn request(&self, stream: &mut TcpStream) -> Option<Seen> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).expect("text");
        let mut lines = head.split("\r\n");
        let first = lines.next().expect("a request line").to_owned();
        let headers: BTreeMap<String, String> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers["content-length"].parse().expect("a length");
        let mut body = bytes.split_off(head_end + 4);
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        let path = first.strip_prefix("POST ").expect("a POST");
        let path = path.strip_suffix(" HTTP/1.1").expect("of HTTP/1.1");
        Some(Seen {
            path: path.to_owned(),
            headers,
            body: serde_json::from_slice(&body).expect("JSON"),
            left: None,
        })
    }
}

impl Respond {
    /// Sends it. Whether the connection can be used for another request.
    async fn send(self, stream: &mut TcpStream) -> bool {
        if matches!(self.end, End::Silence) {
            return false;
        }
        tokio::time::sleep(self.latency).await;
        let mut head = format!(
            "HTTP/1.1 {} Said\r\ntransfer-encoding: chunked\r\n",
            self.status
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut sent = stream.write_all(format!("{head}\r\n").as_bytes()).await;
        for part in &self.parts {
            let chunk = format!("{:x}\r\n{part}\r\n", part.len());
            if sent.is_err() || part.is_empty() {
                continue;
            }
            sent = stream.write_all(chunk.as_bytes()).await;
        }
        match self.end {
            End::Complete => sent.is_ok() && stream.write_all(b"0\r\n\r\n").await.is_ok(),
            End::BrokenOff => {
                let _ = stream.shutdown().await;
                false
            }
            End::Hang | End::Silence => false,
        }
    }
}
