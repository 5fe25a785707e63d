//! The keyed hash chain over a session's events.
//!
//! ```text
//!   m_0 = H(key, "record", session, record)
//!   m_n = H(key, "event",  m_{n-1}, session, n, at, kind)
//!   head = H(key, "head",  session, n, m_n)            kept in the session's row
//! ```
//! `H` is keyed BLAKE3 over length-prefixed fields. A changed line breaks its own link,
//! a removed one the next, a cut end the head.

use forerun_types::SessionId;

/// Length of a key and of a link.
pub(crate) const KEY_BYTES: usize = 32;

/// The secret that links are made with.
#[derive(Clone)]
pub(crate) struct Key([u8; KEY_BYTES]);

/// One link: what the next one is made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) [u8; KEY_BYTES]);

impl Key {
    pub(crate) fn new(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    /// Tells one key from another without giving it away.
    pub(crate) fn fingerprint(&self) -> Link {
        self.link("fingerprint", &[])
    }

    /// The link that a session's first event is chained to.
    pub(crate) fn record(&self, session: &SessionId, record: &str) -> Link {
        self.link("record", &[session.as_str().as_bytes(), record.as_bytes()])
    }

    /// The link of one event.
    pub(crate) fn event(
        &self,
        before: &Link,
        session: &SessionId,
        sequence: u64,
        at: u64,
        kind: &str,
    ) -> Link {
        self.link(
            "event",
            &[
                &before.0,
                session.as_str().as_bytes(),
                &sequence.to_le_bytes(),
                &at.to_le_bytes(),
                kind.as_bytes(),
            ],
        )
    }

    /// What the session's row keeps of the last link.
    pub(crate) fn head(&self, session: &SessionId, sequence: u64, last: &Link) -> Link {
        self.link(
            "head",
            &[
                session.as_str().as_bytes(),
                &sequence.to_le_bytes(),
                &last.0,
            ],
        )
    }

    fn link(&self, domain: &'static str, fields: &[&[u8]]) -> Link {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for field in [domain.as_bytes()].iter().chain(fields) {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        Link(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_and_the_key_reach_the_link() {
        let session = SessionId::from_random([1; 10]);
        let other = SessionId::from_random([2; 10]);
        let key = Key::new([7; KEY_BYTES]);
        let start = key.record(&session, "{}");
        let link = |key: &Key, before: &Link, session: &SessionId, sequence, at, kind: &str| {
            key.event(before, session, sequence, at, kind).0
        };
        let one = link(&key, &start, &session, 1, 2, "x");
        assert_eq!(one, link(&key, &start, &session, 1, 2, "x"));
        assert_ne!(
            one,
            link(&Key::new([8; KEY_BYTES]), &start, &session, 1, 2, "x")
        );
        assert_ne!(one, link(&key, &Link(one), &session, 1, 2, "x"));
        assert_ne!(one, link(&key, &start, &other, 1, 2, "x"));
        assert_ne!(one, link(&key, &start, &session, 2, 2, "x"));
        assert_ne!(one, link(&key, &start, &session, 1, 3, "x"));
        assert_ne!(one, link(&key, &start, &session, 1, 2, "y"));
    }
}
