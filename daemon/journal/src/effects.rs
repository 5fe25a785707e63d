//! What actions send beyond the workspace: noted before it is sent, so that it is never sent
//! twice, and its answer is kept, so that the action can run again without sending it again.
//!
//! Only what does harm when it is sent twice comes here; who calls knows which that is.

use crate::sessions::session_row;
use crate::{Journal, JournalError};
use forerun_types::{Digest, NodeId, SessionId, StepIndex};
use rusqlite::{OptionalExtension, params};

/// Most bytes of an answer: as much as is read of a response, with its headers.
const RESPONSE_BYTES_MAX: usize = 32 << 20;

/// An effect of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectId {
    /// The session.
    pub session: SessionId,
    /// The action's node: run again, it is the same one.
    pub node: NodeId,
    /// Which of the action's effects it is, from 0, of those that come here.
    pub effect: u32,
}

/// What is known of an effect that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectFate {
    /// Nothing: it is noted now, and to be sent.
    New,
    /// It was sent, and this came back.
    Answered(Vec<u8>),
    /// It was sent, or may have been, and nobody knows what became of it.
    Unknown,
    /// Another one was sent in its place: the action does not do the same again.
    Diverged,
}

/// An effect without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnansweredEffect {
    /// The step of its action.
    pub step: StepIndex,
    /// The action's node.
    pub node: NodeId,
    /// Which of the action's effects it is.
    pub effect: u32,
    /// What it is, for people.
    pub what: String,
}

impl Journal {
    /// Notes that an effect is about to be sent, unless it was before. Durable when it
    /// returns. Blocks.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written: then nothing may be
    /// sent.
    pub fn begin_effect(
        &self,
        id: &EffectId,
        step: StepIndex,
        request: &Digest,
        what: &str,
    ) -> Result<EffectFate, JournalError> {
        let (id, request, what) = (id.clone(), *request, what.to_owned());
        let failed = JournalError::database("note an effect");
        self.write(move |savepoint| {
            let number = session_row(savepoint, &id.session)?.number;
            let known: Option<(Vec<u8>, Option<Vec<u8>>)> = savepoint
                .prepare_cached(
                    "SELECT request, response FROM effects
                     WHERE session = ?1 AND node = ?2 AND effect = ?3",
                )
                .and_then(|mut select| {
                    select
                        .query_row(params![number, id.node.0, id.effect], |row| {
                            Ok((row.get(0)?, row.get(1)?))
                        })
                        .optional()
                })
                .map_err(&failed)?;
            match known {
                Some((before, _)) if before != request.0 => return Ok(EffectFate::Diverged),
                Some((_, Some(response))) => return Ok(EffectFate::Answered(response)),
                Some((_, None)) => return Ok(EffectFate::Unknown),
                None => {}
            }
            // Executed again, an action has to come by all that it sent before.
            let before: u32 = savepoint
                .prepare_cached("SELECT count(*) FROM effects WHERE session = ?1 AND node = ?2")
                .and_then(|mut select| {
                    select.query_row(params![number, id.node.0], |row| row.get(0))
                })
                .map_err(&failed)?;
            if before != id.effect {
                return Ok(EffectFate::Diverged);
            }
            savepoint
                .prepare_cached("INSERT INTO effects VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)")
                .and_then(|mut insert| {
                    insert.execute(params![
                        number, step.0, id.node.0, id.effect, what, request.0
                    ])
                })
                .map_err(&failed)?;
            Ok(EffectFate::New)
        })
    }

    /// Forgets an effect that was begun and certainly not sent. Blocks.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn cancel_effect(&self, id: &EffectId) -> Result<(), JournalError> {
        let id = id.clone();
        self.write(move |savepoint| {
            let number = session_row(savepoint, &id.session)?.number;
            savepoint
                .prepare_cached(
                    "DELETE FROM effects WHERE session = ?1 AND node = ?2 AND effect = ?3
                     AND response IS NULL",
                )
                .and_then(|mut delete| delete.execute(params![number, id.node.0, id.effect]))
                .map(drop)
                .map_err(JournalError::database("forget an effect"))
        })
    }

    /// Keeps the answer to an effect, before the action sees it. Blocks.
    ///
    /// # Errors
    /// If the answer is too large, the effect was not begun, or the journal can not be
    /// written.
    pub fn end_effect(&self, id: &EffectId, response: &[u8]) -> Result<(), JournalError> {
        if response.len() > RESPONSE_BYTES_MAX {
            return Err(JournalError::TooLarge {
                what: "an answer to an effect",
                found: response.len(),
                max: RESPONSE_BYTES_MAX,
            });
        }
        let (id, response) = (id.clone(), response.to_vec());
        self.write(move |savepoint| {
            let number = session_row(savepoint, &id.session)?.number;
            let changed = savepoint
                .prepare_cached(
                    "UPDATE effects SET response = ?4
                     WHERE session = ?1 AND node = ?2 AND effect = ?3",
                )
                .and_then(|mut update| {
                    update.execute(params![number, id.node.0, id.effect, response])
                })
                .map_err(JournalError::database("keep an answer to an effect"))?;
            match changed {
                1 => Ok(()),
                _ => Err(JournalError::Corrupt {
                    what: "an effect".to_owned(),
                    reason: "it is answered, and was not begun".to_owned(),
                }),
            }
        })
    }

    /// The effects of a session that have no answer.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be read.
    pub fn unanswered_effects(
        &self,
        session: &SessionId,
    ) -> Result<Vec<UnansweredEffect>, JournalError> {
        let failed = JournalError::database("list the effects without an answer");
        self.read(|connection| {
            let number = session_row(connection, session)?.number;
            let mut select = connection
                .prepare_cached(
                    "SELECT step, node, effect, what FROM effects
                     WHERE session = ?1 AND response IS NULL ORDER BY step, node, effect",
                )
                .map_err(&failed)?;
            let rows = select
                .query_map([number], |row| {
                    Ok(UnansweredEffect {
                        step: StepIndex(row.get(0)?),
                        node: NodeId(row.get(1)?),
                        effect: row.get(2)?,
                        what: row.get(3)?,
                    })
                })
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }
}
