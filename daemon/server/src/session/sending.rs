//! Sends one request of an action, at most once if that matters.
//!
//! ```text
//!  the action's turn ──▶ noted ──▶ sent ──▶ answer kept ──▶ the action sees it
//!                          │         ├─ certainly not sent ──▶ forgotten again
//!                          │         └─ perhaps sent ────────▶ unknown, for ever
//!                          ├─ answered before ───▶ that answer
//!                          ├─ unknown ───────────▶ not sent again
//!                          └─ another one before ▶ nothing more of the action is sent
//! ```
//!
//! What does harm when it is sent twice is all but reading. Of an action these are a sequence,
//! in the order in which they were let out: executed again, it has to come by the same ones in
//! the same order before it can send a new one. Reading is sent as often as it is asked for.

use crate::egress::{Egress, Target};
use forerun_journal::{EffectFate, EffectId, Journal};
use forerun_sandbox::{EgressAnswer, EgressRefusal};
use forerun_types::{
    Digest, EffectEnd, Hasher, HttpRequest, HttpResponse, NodeId, SessionId, StepIndex,
};
use std::fmt::Display;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const UNKNOWN: &str = "effect_unknown: it was sent before and nobody knows what became of it; it is \
                       not sent again";
const DIVERGED: &str = "effect_diverged: executed again, the action sends something else than \
                        before, when it did send something; nothing more of it is sent, and what \
                        it sent then is not taken back: do not repeat it";

/// How far an execution is in its sequence; held by the request that is under way.
#[derive(Clone, Default)]
pub(super) struct Sequence(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    /// The number of the next one.
    next: u32,
    /// It does not do the same again.
    diverged: bool,
}

/// What sending a request needs.
pub(super) struct Sending {
    pub(super) journal: Journal,
    pub(super) egress: Arc<Egress>,
    pub(super) session: SessionId,
    pub(super) node: NodeId,
    pub(super) step: StepIndex,
    /// The request, for people.
    pub(super) what: String,
    pub(super) sequence: Sequence,
}

/// What became of it.
pub(super) struct Outcome {
    pub(super) end: EffectEnd,
    /// Why, or what the response is, for people.
    pub(super) detail: String,
    pub(super) answer: EgressAnswer,
}

impl Sending {
    pub(super) async fn send(self, target: &Target, request: HttpRequest) -> Outcome {
        match request.is_safe() {
            true => match self.egress.send(target, &request).await {
                Ok(response) => Outcome::answered(EffectEnd::Answered, response),
                Err(unsent) => {
                    let end = match unsent.maybe_sent {
                        true => EffectEnd::Unknown,
                        false => EffectEnd::Refused,
                    };
                    Outcome::without(end, unsent.why, unsent.reason)
                }
            },
            false => self.send_once(target, request).await,
        }
    }

    async fn send_once(self, target: &Target, mut request: HttpRequest) -> Outcome {
        let sequence = self.sequence.clone();
        let mut progress = sequence.0.lock().await;
        if progress.diverged {
            return Outcome::without(EffectEnd::Refused, EgressRefusal::Denied, DIVERGED);
        }
        let id = EffectId {
            session: self.session.clone(),
            node: self.node,
            effect: progress.next,
        };
        match self.begin(&id, request.digest()).await {
            Err(problem) => {
                let reason = format!("it could not be noted, so it was not sent: {problem}");
                return Outcome::without(EffectEnd::Refused, EgressRefusal::Failed, reason);
            }
            Ok(EffectFate::New) => {}
            Ok(EffectFate::Answered(kept)) => {
                progress.next += 1;
                return match unpack(&kept) {
                    Some(response) => Outcome::answered(EffectEnd::Replayed, response),
                    None => Outcome::without(EffectEnd::Unknown, EgressRefusal::Failed, UNKNOWN),
                };
            }
            Ok(EffectFate::Unknown) => {
                progress.next += 1;
                return Outcome::without(EffectEnd::Unknown, EgressRefusal::Denied, UNKNOWN);
            }
            Ok(EffectFate::Diverged) => {
                progress.diverged = true;
                return Outcome::without(EffectEnd::Refused, EgressRefusal::Denied, DIVERGED);
            }
        }
        let named = |(name, _): &(String, String)| name == IDEMPOTENCY_KEY;
        if !request.headers.iter().any(named) {
            let key = (IDEMPOTENCY_KEY.to_owned(), idempotency_key(&id));
            request.headers.push(key);
        }
        match self.egress.send(target, &request).await {
            Ok(response) => {
                progress.next += 1;
                let (journal, kept) = (self.journal, pack(&response));
                let end = spawn_blocking(move || journal.end_effect(&id, &kept)).await;
                match flat(end) {
                    Ok(()) => Outcome::answered(EffectEnd::Answered, response),
                    Err(problem) => {
                        let reason = format!(
                            "effect_unknown: it was sent, and its answer could not be kept: \
                             {problem}; do not repeat it"
                        );
                        Outcome::without(EffectEnd::Unknown, EgressRefusal::Failed, reason)
                    }
                }
            }
            Err(unsent) if unsent.maybe_sent => {
                progress.next += 1;
                let reason = format!(
                    "effect_unknown: {}; the request may have arrived, so do not repeat it",
                    unsent.reason
                );
                Outcome::without(EffectEnd::Unknown, unsent.why, reason)
            }
            Err(unsent) => {
                let journal = self.journal;
                // If it can not be forgotten it counts as sent, which does no harm.
                let _ = spawn_blocking(move || journal.cancel_effect(&id)).await;
                Outcome::without(EffectEnd::Refused, unsent.why, unsent.reason)
            }
        }
    }

    async fn begin(&self, id: &EffectId, digest: Digest) -> Result<EffectFate, String> {
        let (journal, id) = (self.journal.clone(), id.clone());
        let (step, what) = (self.step, self.what.clone());
        flat(spawn_blocking(move || journal.begin_effect(&id, step, &digest, &what)).await)
    }
}

impl Outcome {
    fn answered(end: EffectEnd, response: HttpResponse) -> Outcome {
        Outcome {
            end,
            detail: format!("{}, {} bytes", response.status, response.body.len()),
            answer: EgressAnswer::Response(response),
        }
    }

    fn without(end: EffectEnd, why: EgressRefusal, reason: impl Into<String>) -> Outcome {
        let reason = reason.into();
        Outcome {
            end,
            detail: reason.clone(),
            answer: EgressAnswer::Refused { why, reason },
        }
    }
}

/// What another thread brought, or why it did not, in words.
fn flat<T, A: Display, B: Display>(brought: Result<Result<T, A>, B>) -> Result<T, String> {
    brought
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

/// Names a request to its host, so that a copy of it that turns up is known for one
/// (draft-ietf-httpapi-idempotency-key-header).
fn idempotency_key(id: &EffectId) -> String {
    let digest = Hasher::new("forerun idempotency key")
        .field(id.session.as_str())
        .field(id.node.0.to_le_bytes())
        .field(id.effect.to_le_bytes())
        .finish();
    format!("\"{digest}\"")
}

/// A response as the journal keeps it: status and headers in a line, then the body.
fn pack(response: &HttpResponse) -> Vec<u8> {
    let head = serde_json::json!([response.status, response.headers]).to_string();
    [head.as_bytes(), b"\n", &response.body].concat()
}

fn unpack(bytes: &[u8]) -> Option<HttpResponse> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (status, headers) = serde_json::from_slice(&bytes[..end]).ok()?;
    Some(HttpResponse {
        status,
        headers,
        body: bytes[end + 1..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_comes_back_as_it_was_kept() {
        let response = HttpResponse {
            status: 201,
            headers: vec![("a".to_owned(), "b\"\u{e9}".to_owned())],
            body: b"\n\xff\0text".to_vec(),
        };
        assert_eq!(unpack(&pack(&response)), Some(response));
        assert_eq!(unpack(b"no line"), None);
        assert_eq!(unpack(b"{}\nbody"), None);
    }
}
