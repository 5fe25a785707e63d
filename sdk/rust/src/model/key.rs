//! A provider's key: read once, sent in one header, shown to nobody.

use reqwest::header::HeaderValue;
use std::fmt;
use std::sync::Arc;

/// Stands for a key wherever one would be shown.
const HIDDEN: &str = "…";

/// A key. Its `Debug` does not show it, and there is no `Display`.
#[derive(Clone)]
pub(super) struct ApiKey(Arc<str>);

impl ApiKey {
    /// `None` if a header can not carry it.
    pub(super) fn new(text: &str) -> Option<ApiKey> {
        HeaderValue::from_str(text).ok()?;
        Some(ApiKey(text.into()))
    }

    /// A header's value that logs of HTTP do not show.
    pub(super) fn header(&self, scheme: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{scheme}{}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without the key.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&*self.0, HIDDEN)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_of_a_text_and_not_shown_by_debug() {
        let key = ApiKey::new("sk-secret").expect("valid");
        assert_eq!(key.redact("key sk-secret is wrong"), "key … is wrong");
        let header = key.header("Bearer ").expect("valid");
        assert!(!format!("{key:?} {header:?}").contains("secret"));
    }
}
