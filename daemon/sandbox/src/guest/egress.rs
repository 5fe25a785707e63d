//! `wasi:http`: linked, so that a guest that imports it starts, and denied. A guest can build
//! requests; each gets `HTTP-request-denied` for its response, and nothing ever leaves.
//!
//! The types are wasmtime-wasi-http's, built without anything that sends.

use http::{Request, Response};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

/// Bytes of the headers of one request, as they are held; with the limit on handles it
/// stops a guest from using up the host's memory with headers that it never sends.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Bytes that one write to a body may hold; the same for bodies.
const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// The requests of one instance.
pub(crate) struct Egress {
    context: WasiHttpCtx,
    hooks: Denying,
}

impl Egress {
    pub(crate) fn new() -> Egress {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES_MAX);
        Egress {
            context,
            hooks: Denying,
        }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table,
            ctx: &mut self.context,
        }
    }
}

/// Sends nothing.
struct Denying;

/// When a request, or a response, is over.
type Over = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Denying {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Over,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Over), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }
}
