//! The `fetch` and `send_request` tools: the world beyond the workspace, over http.
//!
//! They only build requests and read responses; whether, and when, one is sent is decided
//! outside, request by request, redirects included. They keep nothing.

#![allow(
    rustdoc::bare_urls,
    reason = "the descriptions of tools are for models, and their examples are JSON"
)]

#[cfg(target_arch = "wasm32")]
mod exchange;

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use std::collections::BTreeMap;

/// Redirects that are followed; stops one that leads to itself.
#[cfg(target_arch = "wasm32")]
const REDIRECTS_MAX: usize = 5;
/// Bytes of text that are returned unless the call says otherwise.
const TEXT_BYTES: u32 = 64 << 10;
/// Bytes of the body of an error that are shown.
#[cfg(target_arch = "wasm32")]
const ERROR_BYTES: usize = 2 << 10;

/// Reads a page or a file from the web (GET) and returns its text; HTML comes as Markdown.
/// Use it for documentation, API answers and raw files whose address you know; it does not
/// search. Example: {"url": "https://example.org/guide.html"}. For more of a long text, call it
/// again with `start` as the last line says; `raw` leaves HTML as it is. Redirects are followed,
/// up to 5. Only text; at most 64 KiB a call unless `max_bytes` says otherwise, and 8 MiB of
/// response. Which hosts may be reached, and whether the user is asked, is up to policy: a
/// denial is final.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "used in a sandbox")
)]
pub struct Fetch {
    /// The address, http or https.
    #[schemars(length(min = 1))]
    url: String,
    /// Headers, such as {"accept": "application/json"}.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Where in the text to begin, in bytes.
    #[serde(default)]
    start: u32,
    /// Most bytes of text to return.
    #[serde(default = "text_bytes")]
    #[schemars(range(min = 1, max = 1_048_576))]
    max_bytes: u32,
    /// Leave HTML as it is.
    #[serde(default)]
    raw: bool,
}

/// Sends one HTTP request of any method and returns the response. Use it for APIs that change
/// something (POST, PUT, PATCH, DELETE), or where you need the status and headers; to read a
/// page, use `fetch`. Example: {"method": "POST", "url": "https://api.example.org/items",
/// "headers": {"content-type": "application/json"}, "body": "{\"name\": \"a\"}"}. It is sent
/// once, when its step is verified, and can not be undone. Redirects are not followed: their
/// `location` is returned. A body of at most 1 MiB, at most 64 KiB of the response's text.
/// Policy decides whether it may be sent, and the user may be asked: a denial is final.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "used in a sandbox")
)]
pub struct SendRequest {
    /// The method, in capitals.
    #[schemars(regex(pattern = "^[A-Z]{1,16}$"))]
    method: String,
    /// The address, http or https.
    #[schemars(length(min = 1))]
    url: String,
    /// Headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body, as text.
    #[serde(default)]
    body: String,
}

/// What came back, without the text.
#[derive(Serialize, JsonSchema)]
pub struct Response {
    /// Such as 200.
    status: u16,
    /// Where it is from, redirects followed.
    url: String,
    /// What it is, such as `text/html`.
    content_type: String,
    /// The redirect that was not followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Bytes of the whole text.
    bytes: u32,
    /// Whether the text goes on after what is shown.
    truncated: bool,
}

fn text_bytes() -> u32 {
    TEXT_BYTES
}

impl Tool for Fetch {
    const NAME: &'static str = "fetch";
    const TITLE: &'static str = "Read from the web";
    const ANNOTATIONS: Annotations = Annotations {
        open_world: true,
        ..Annotations::READ_ONLY
    };
    const DETERMINISTIC: bool = false;
    type Structured = Response;

    fn call(self, _: &Places) -> Result<Output<Response>, Error> {
        fetch(&self)
    }
}

impl Tool for SendRequest {
    const NAME: &'static str = "send_request";
    const TITLE: &'static str = "Send an HTTP request";
    const ANNOTATIONS: Annotations = Annotations {
        read_only: false,
        destructive: true,
        idempotent: false,
        open_world: true,
    };
    const DETERMINISTIC: bool = false;
    type Structured = Response;

    fn call(self, _: &Places) -> Result<Output<Response>, Error> {
        send(&self)
    }
}

forerun_tool_kit::export!(Fetch, SendRequest);

#[cfg(not(target_arch = "wasm32"))]
fn fetch(_: &Fetch) -> Result<Output<Response>, Error> {
    Err(Error::Refused("fetch runs in a sandbox only".into()))
}

#[cfg(not(target_arch = "wasm32"))]
fn send(_: &SendRequest) -> Result<Output<Response>, Error> {
    Err(Error::Refused("send_request runs in a sandbox only".into()))
}

#[cfg(target_arch = "wasm32")]
fn fetch(call: &Fetch) -> Result<Output<Response>, Error> {
    let mut url = address(&call.url)?;
    let mut headers = call.headers.clone();
    let mut redirects = 0;
    let reply = loop {
        let reply = exchange::exchange("GET", &url, &headers, &[])?;
        let next = (300..400)
            .contains(&reply.status)
            .then(|| reply.header("location"));
        let Some(next) = next.flatten() else {
            break reply;
        };
        redirects += 1;
        if redirects > REDIRECTS_MAX {
            let reason = format!("{}: more than {REDIRECTS_MAX} redirects", call.url);
            return Err(Error::Refused(reason));
        }
        let joined = url.join(next).map_err(|error| {
            Error::Refused(format!(
                "{url} redirects to {next:?}, which is no address: {error}"
            ))
        })?;
        if joined.origin() != url.origin() {
            // What is meant for one host is not told to another.
            headers.retain(|name, value| {
                let name = name.to_ascii_lowercase();
                !matches!(
                    name.as_str(),
                    "authorization" | "cookie" | "proxy-authorization"
                ) && !value.contains("{{secret:")
            });
        }
        url = joined;
    };
    let content_type = reply.content_type();
    let text = readable(&reply, &content_type, call.raw)?;
    if !(200..300).contains(&reply.status) {
        let shown = &text[..text.floor_char_boundary(ERROR_BYTES)];
        return Err(Error::Refused(format!(
            "{url} answered {}: {shown}",
            reply.status
        )));
    }
    let start = text.floor_char_boundary(call.start as usize);
    let end = text.floor_char_boundary(start.saturating_add(call.max_bytes as usize));
    let mut shown = text[start..end].to_owned();
    if end < text.len() {
        shown.push_str(&format!(
            "\n[{} of {} bytes; go on with \"start\": {end}]",
            end - start,
            text.len()
        ));
    } else if shown.is_empty() {
        shown.push_str("[empty]");
    }
    Ok(Output::new(
        shown,
        Response {
            status: reply.status,
            url: url.to_string(),
            content_type,
            location: None,
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            truncated: end < text.len(),
        },
    ))
}

#[cfg(target_arch = "wasm32")]
fn send(call: &SendRequest) -> Result<Output<Response>, Error> {
    let url = address(&call.url)?;
    let reply = exchange::exchange(&call.method, &url, &call.headers, call.body.as_bytes())?;
    let content_type = reply.content_type();
    let text = readable(&reply, &content_type, true)?;
    let end = text.floor_char_boundary(TEXT_BYTES as usize);
    let location = reply.header("location").map(str::to_owned);
    let cut = match end < text.len() {
        true => format!("\n[{} more bytes]", text.len() - end),
        false => String::new(),
    };
    Ok(Output::new(
        format!("{} {}\n{}{cut}", call.method, reply.status, &text[..end]),
        Response {
            status: reply.status,
            url: url.to_string(),
            content_type,
            location,
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            truncated: end < text.len(),
        },
    ))
}

#[cfg(target_arch = "wasm32")]
fn address(url: &str) -> Result<url::Url, Error> {
    url::Url::parse(url).map_err(|error| {
        Error::Refused(format!(
            "{url:?} is no address: {error}; give it whole, such as https://example.org/a"
        ))
    })
}

/// The text of a reply, if it is one.
#[cfg(target_arch = "wasm32")]
fn readable(reply: &exchange::Reply, content_type: &str, raw: bool) -> Result<String, Error> {
    let text = match String::from_utf8_lossy(&reply.body) {
        text if text.contains('\0') => {
            return Err(Error::Refused(format!(
                "{} bytes of {content_type} are no text",
                reply.body.len()
            )));
        }
        text => text.into_owned(),
    };
    let is_html = matches!(content_type, "text/html" | "application/xhtml+xml");
    if raw || !is_html {
        return Ok(text);
    }
    let converter = htmd::HtmlToMarkdown::builder()
        .skip_tags(vec![
            "script", "style", "noscript", "svg", "iframe", "nav", "footer",
        ])
        .build();
    converter
        .convert(&text)
        .map_err(|error| Error::Refused(format!("the HTML can not be read: {error}; use raw")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn descriptions_have_examples_that_are_accepted() {
        for tool in list() {
            let (_, rest) = tool.description.split_once("Example: ").expect("present");
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let example = values.next().expect("one value").expect("JSON");
            let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
            let called = forerun_tool_kit::call(TOOLS, &places, tool.name, &example.to_string());
            assert!(matches!(called, Err(Error::Refused(_))), "{called:?}");
            assert!(tool.annotations.open_world);
        }
    }
}
