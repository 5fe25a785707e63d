//! One request and its response, over `wasi:http`.

use forerun_tool_kit::Error;
use std::collections::BTreeMap;
use url::Url;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

/// Bytes that one write takes.
const WRITE_BYTES: usize = 4 << 10;
/// Bytes that one read may give.
const READ_BYTES: u64 = 64 << 10;

/// A response, whole.
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Without its parameters, in lower case; of an unknown one, bytes.
    pub(crate) fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        match value.split(';').next().map(str::trim) {
            None | Some("") => "application/octet-stream".to_owned(),
            Some(kind) => kind.to_ascii_lowercase(),
        }
    }
}

/// Sends a request and reads its response.
///
/// # Errors
/// What is wrong with the request, or why there is no response.
pub(crate) fn exchange(
    method: &str,
    url: &Url,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Result<Reply, Error> {
    let refused = |what: String| Error::Refused(format!("{method} {url}: {what}"));
    let fields = Fields::new();
    for (name, value) in headers {
        let value = value.clone().into_bytes();
        let appended = fields.append(name, &value);
        appended.map_err(|error| refused(format!("the header {name:?}: {error}")))?;
    }
    let request = OutgoingRequest::new(fields);
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => return Err(refused(format!("{other} is not http or https"))),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let invalid = |what: &str| refused(format!("its {what} is not valid"));
    let authority = &url[url::Position::BeforeUsername..url::Position::AfterPort];
    let method = wasi_method(method);
    request
        .set_method(&method)
        .map_err(|()| invalid("method"))?;
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| invalid("scheme"))?;
    request
        .set_authority(Some(authority))
        .map_err(|()| invalid("host"))?;
    request
        .set_path_with_query(Some(&path))
        .map_err(|()| invalid("path"))?;
    let outgoing = request.body().map_err(|()| invalid("body"))?;
    let future = outgoing_handler::handle(request, None);
    let future = future.map_err(|code| refused(code.to_string()))?;
    write(outgoing, body).map_err(&refused)?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(code))) => return Err(refused(code.to_string())),
        Some(Err(())) | None => return Err(refused("there is no response".to_owned())),
    };
    read(&response).map_err(refused)
}

fn wasi_method(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn write(outgoing: OutgoingBody, body: &[u8]) -> Result<(), String> {
    if !body.is_empty() {
        let stream = outgoing
            .write()
            .map_err(|()| "the body can not be written".to_owned())?;
        for chunk in body.chunks(WRITE_BYTES) {
            stream
                .blocking_write_and_flush(chunk)
                .map_err(|error| format!("the body can not be written: {error}"))?;
        }
    }
    OutgoingBody::finish(outgoing, None).map_err(|code| code.to_string())
}

fn read(response: &IncomingResponse) -> Result<Reply, String> {
    let headers = response.headers().entries().into_iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    let incoming = response
        .consume()
        .map_err(|()| "the body can not be read".to_owned())?;
    let stream = incoming
        .stream()
        .map_err(|()| "the body can not be read".to_owned())?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(format!("the body can not be read: {error}")),
        }
    }
    Ok(Reply {
        status: response.status(),
        headers: headers.collect(),
        body,
    })
}
