//! A request that an action makes of the world, and what came back: plain values, whole.

use crate::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// A request. Nothing of it is sent before policy, and the step's verdict, allow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// Absolute: `http` or `https`, host, port unless it is the scheme's, path and query.
    pub url: String,
    /// In the order in which they were given, without `host` and what belongs to the
    /// connection. Names are lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// As they came, without what belongs to the connection.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// Identifies the request, so that one that was sent is known when its action runs again.
    pub fn digest(&self) -> Digest {
        let hasher = Hasher::new("forerun http request")
            .field(&self.method)
            .field(&self.url);
        let hasher = self.headers.iter().fold(hasher, |hasher, (name, value)| {
            hasher.field(name).field(value)
        });
        hasher.field(&self.body).finish()
    }

    /// Whether sending it twice is no worse than once (RFC 9110, section 9.2.1: "safe").
    pub fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }
}

impl std::fmt::Display for HttpRequest {
    /// Method and address; headers and body may hold what nobody is to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        match self.body.len() {
            0 => Ok(()),
            bytes => write!(f, " with a body of {bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_where_a_header_ends() {
        let request = |headers: &[(&str, &str)], body: &str| HttpRequest {
            method: "POST".into(),
            url: "https://a.example/".into(),
            headers: (headers.iter())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.into(),
        };
        let one = request(&[("a", "bc")], "");
        for other in [
            request(&[("ab", "c")], ""),
            request(&[("a", "b")], "c"),
            request(&[], "abc"),
        ] {
            assert_ne!(one.digest(), other.digest(), "{other:?}");
        }
        assert_eq!(one.digest(), one.clone().digest());
    }
}
