//! `wasi:http`: a guest builds requests; whoever started the action answers them, or nobody
//! does, and they are denied. Nothing here opens a connection.
//!
//! A request is handed over whole, once its body is finished, because who decides about it
//! wants to see all of it. The guest gets a future; when it waits for that it is parked: it
//! takes a place and its memory, and its wall time stands still (see [`Waits`]). A guest that
//! drops the future, or ends, takes back what was not sent yet.

use crate::run::{EgressAnswer, EgressRefusal, Outgoing};
use crate::time::Waits;
use forerun_types::{HttpRequest, HttpResponse};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};
use wasmtime_wasi_io::bytes::Bytes;

/// Bytes of the headers of one request, as they are held; with the limit on handles it
/// stops a guest from using up the host's memory with headers that it never sends.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Bytes that one write to a body may hold; the same for bodies.
const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes of the body of one request, which is held whole while it waits for its verdict.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The same of all requests of one action.
const BODIES_BYTES_MAX: usize = 4 << 20;
/// Bytes of all responses that one action may hold.
const RESPONSES_BYTES_MAX: usize = 32 << 20;
/// Requests that one action may make; stops one that sends for ever.
const REQUESTS_MAX: u32 = 64;

/// The requests of one instance.
pub(crate) struct Egress {
    context: WasiHttpCtx,
    hooks: Asking,
}

impl Egress {
    /// `outgoing` is where requests go; without it they are denied.
    pub(crate) fn new(
        outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
        waits: Waits,
        read_sensitive: Arc<AtomicBool>,
    ) -> Egress {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES_MAX);
        Egress {
            context,
            hooks: Asking {
                outgoing,
                waits,
                read_sensitive,
                made: 0,
                out_left: Arc::new(AtomicUsize::new(BODIES_BYTES_MAX)),
                in_left: Arc::new(AtomicUsize::new(RESPONSES_BYTES_MAX)),
                refused: Arc::default(),
            },
        }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table,
            ctx: &mut self.context,
        }
    }

    /// What became of the first request that has no response.
    pub(crate) fn refused(&self) -> Option<Unanswered> {
        let refused = self.hooks.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Asks for each request.
struct Asking {
    outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
    waits: Waits,
    read_sensitive: Arc<AtomicBool>,
    made: u32,
    /// Bytes of bodies that are left, of requests and of responses.
    out_left: Arc<AtomicUsize>,
    in_left: Arc<AtomicUsize>,
    refused: Arc<Mutex<Option<Unanswered>>>,
}

/// Why a request has no response.
#[derive(Clone)]
pub(crate) struct Unanswered {
    pub(crate) why: EgressRefusal,
    pub(crate) reason: String,
}

/// When a request, or a response, is over.
type Over = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answered = Result<(Response<WasiBody>, Over), Error>;

impl WasiHttpHooks for Asking {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Over,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let number = self.made;
        self.made += 1;
        let Some(outgoing) = self.outgoing.clone().filter(|_| number < REQUESTS_MAX) else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        let (waits, refused) = (self.waits.clone(), Arc::clone(&self.refused));
        let read_sensitive = Arc::clone(&self.read_sensitive);
        let (out_left, in_left) = (Arc::clone(&self.out_left), Arc::clone(&self.in_left));
        Box::new(async move {
            let request = whole(request, &out_left).await?;
            let (answer, answered) = oneshot::channel();
            let asked = Outgoing {
                number,
                request,
                read_sensitive: read_sensitive.load(Ordering::Relaxed),
                answer,
            };
            let waiting = waits.begin();
            // Who asked for the action and went away stops the sandbox, too.
            outgoing.send(asked).map_err(|_| Error::HttpRequestDenied)?;
            let answered = answered.await.map_err(|_| Error::HttpRequestDenied)?;
            drop(waiting);
            match answered {
                EgressAnswer::Response(response) => {
                    take(&in_left, response.body.len())
                        .map_err(|()| Error::HttpResponseBodySize(None))?;
                    Ok((respond(response)?, over()))
                }
                EgressAnswer::Refused { why, reason } => {
                    let mut first = refused.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert_with(|| Unanswered {
                        why,
                        reason: reason.clone(),
                    });
                    Err(error(why, reason))
                }
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }
}

fn over() -> Over {
    Box::new(std::future::ready(Ok(())))
}

/// Takes bytes of what is left.
fn take(left: &AtomicUsize, bytes: usize) -> Result<(), ()> {
    let less = |left: usize| left.checked_sub(bytes);
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.map(drop).map_err(drop)
}

/// Waits for the end of a request's body.
async fn whole(request: Request<WasiBody>, left: &AtomicUsize) -> Result<HttpRequest, Error> {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are not passed on: few servers read them.
        if let Ok(data) = frame?.into_data() {
            let fits = bytes.len() + data.len() <= BODY_BYTES_MAX;
            if !fits || take(left, data.len()).is_err() {
                return Err(Error::HttpRequestBodySize(Some(BODY_BYTES_MAX as u64)));
            }
            bytes.extend_from_slice(&data);
        }
    }
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        // The host says whom it talks to, and how long a body is.
        if *name == http::header::HOST || *name == http::header::CONTENT_LENGTH {
            continue;
        }
        let value = value.to_str().map_err(|_| Error::HttpRequestUriInvalid)?;
        headers.push((name.as_str().to_owned(), value.to_owned()));
    }
    Ok(HttpRequest {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers,
        body: bytes,
    })
}

/// The response as a guest reads it.
fn respond(response: HttpResponse) -> Result<Response<WasiBody>, Error> {
    let body = Full::new(Bytes::from(response.body));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let mut built = Response::new(body);
    *built.status_mut() = http::StatusCode::from_u16(response.status)
        .map_err(|error| Error::InternalError(Some(error.to_string())))?;
    for (name, value) in response.headers {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::try_from(value);
        if let (Ok(name), Ok(value)) = (name, value)
            && !DEFAULT_FORBIDDEN_HEADERS.contains(&name)
        {
            built.headers_mut().append(name, value);
        }
    }
    Ok(built)
}

/// What the guest is told; the reason in words is the observation's.
fn error(why: EgressRefusal, reason: String) -> Error {
    match why {
        EgressRefusal::Denied => Error::HttpRequestDenied,
        EgressRefusal::Address => Error::DestinationIpProhibited,
        EgressRefusal::Unknown => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        EgressRefusal::Unreachable => Error::ConnectionRefused,
        EgressRefusal::Late => Error::HttpResponseTimeout,
        EgressRefusal::TooLarge => Error::HttpResponseBodySize(None),
        EgressRefusal::Failed => Error::InternalError(Some(reason)),
    }
}
