//! Sessions, deltas and replies.

use super::*;
use forerun_journal::{EffectFate, EffectId, JournalError, Recall};
use forerun_types::{Digest, NodeId, StepIndex};

#[test]
fn sessions_are_listed_in_the_order_in_which_they_were_opened() {
    let home = Home::new();
    let journal = home.open();
    for number in [3, 1, 2] {
        journal.create_session(&record(number)).unwrap();
    }
    journal.set_state(&id(1), SessionState::Finished).unwrap();
    let finished = SessionRecord {
        state: SessionState::Finished,
        ..record(1)
    };
    assert_eq!(
        journal.sessions().unwrap(),
        [record(3), finished.clone(), record(2)]
    );
    assert_eq!(journal.session(&id(1)).unwrap(), Some(finished));
    assert_eq!(journal.session(&id(9)).unwrap(), None);
}

#[test]
fn a_second_session_of_one_id_and_an_unknown_one_are_refused() {
    let home = Home::new();
    let journal = journal_with(&home, 1);
    let again = journal.create_session(&record(1)).unwrap_err();
    assert_eq!(again.code(), "session_exists");
    let unknown = [
        journal.set_state(&id(9), SessionState::Ended).map(drop),
        journal.events(&id(9), 0, 1).map(drop),
        journal.verify(&id(9)).map(drop),
        journal.store_delta(&id(9), StepIndex(0), b"x"),
        journal.deltas(&id(9)).map(drop),
        journal.drop_deltas(&id(9)),
    ];
    for result in unknown {
        assert!(
            matches!(result, Err(JournalError::UnknownSession(_))),
            "{result:?}"
        );
    }
}

#[test]
fn deltas_come_back_by_step_until_they_are_dropped() {
    let home = Home::new();
    let journal = journal_with(&home, 0);
    journal.create_session(&record(2)).unwrap();
    for (step, bytes) in [(10, "ten"), (9, "nine"), (10, "ten again")] {
        journal
            .store_delta(&id(1), StepIndex(step), bytes.as_bytes())
            .unwrap();
    }
    journal
        .store_delta(&id(2), StepIndex(0), b"another's")
        .unwrap();
    drop(journal);
    let journal = home.open();
    let kept = journal.deltas(&id(1)).unwrap();
    assert_eq!(
        kept,
        [
            (StepIndex(9), b"nine".to_vec()),
            (StepIndex(10), b"ten again".to_vec())
        ]
    );
    journal.drop_deltas(&id(1)).unwrap();
    assert_eq!(journal.deltas(&id(1)).unwrap(), []);
    assert_eq!(journal.deltas(&id(2)).unwrap().len(), 1);
}

#[test]
fn a_repeated_call_gets_the_first_reply_and_another_call_is_noticed() {
    let home = Home::new();
    let journal = home.open();
    let (call, other) = (Digest::of("call"), Digest::of("other"));
    assert_eq!(journal.recall("ses", "k", &call).unwrap(), Recall::None);
    journal.remember("ses", "k", &call, b"first").unwrap();
    journal.remember("ses", "k", &call, b"second").unwrap();
    drop(journal);
    let journal = home.open();
    assert_eq!(
        journal.recall("ses", "k", &call).unwrap(),
        Recall::Reply(b"first".to_vec())
    );
    assert_eq!(
        journal.recall("ses", "k", &other).unwrap(),
        Recall::Mismatch
    );
    assert_eq!(journal.recall("another", "k", &call).unwrap(), Recall::None);
}

#[test]
fn old_replies_and_overlong_keys_do_not_fill_the_journal() {
    let home = Home::new();
    let journal = home.open();
    let call = Digest::of("call");
    journal.remember("other", "kept", &call, b"").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..129 {
                    journal
                        .remember("ses", &format!("{writer} {number}"), &call, b"")
                        .unwrap();
                }
            });
        }
    });
    let connection = rusqlite::Connection::open(home.path().join("journal.db")).unwrap();
    let count = |scope: &str| -> i64 {
        let sql = "SELECT count(*) FROM replies WHERE scope = ?1";
        connection
            .query_row(sql, [scope], |row| row.get(0))
            .unwrap()
    };
    assert_eq!((count("ses"), count("other")), (1_024, 1));
    let key = "k".repeat(257);
    let refused = journal.remember("ses", &key, &call, b"").unwrap_err();
    assert_eq!(refused.code(), "journal_too_large");
    assert!(journal.recall("ses", &key, &call).is_err());
}

#[test]
fn an_effect_is_begun_once_and_its_answer_is_kept() {
    let home = Home::new();
    let effect = |effect| EffectId {
        session: id(1),
        node: NodeId(7),
        effect,
    };
    let (post, other) = (Digest::of("post"), Digest::of("other"));
    let journal = journal_with(&home, 0);
    let begin = |number, request: &Digest| {
        let begun = journal.begin_effect(&effect(number), StepIndex(3), request, "POST a");
        begun.unwrap()
    };
    assert_eq!(begin(0, &post), EffectFate::New);
    assert_eq!(
        begin(0, &post),
        EffectFate::Unknown,
        "it may have been sent"
    );
    assert_eq!(begin(0, &other), EffectFate::Diverged);
    let unanswered = journal.unanswered_effects(&id(1)).unwrap();
    let listed: Vec<_> = unanswered
        .iter()
        .map(|effect| {
            (
                effect.step,
                effect.node,
                effect.effect,
                effect.what.as_str(),
            )
        })
        .collect();
    assert_eq!(listed, [(StepIndex(3), NodeId(7), 0, "POST a")]);
    journal.end_effect(&effect(0), b"created").unwrap();
    assert_eq!(begin(0, &post), EffectFate::Answered(b"created".to_vec()));
    assert_eq!(begin(0, &other), EffectFate::Diverged);
    assert_eq!(begin(1, &post), EffectFate::New, "another of the action's");
    assert!(
        journal.end_effect(&effect(2), b"").is_err(),
        "it was not begun"
    );
    assert_eq!(begin(3, &post), EffectFate::Diverged, "one is left out");
    journal.cancel_effect(&effect(0)).unwrap();
    journal.cancel_effect(&effect(1)).unwrap();
    assert_eq!(begin(0, &post), EffectFate::Answered(b"created".to_vec()));
    assert_eq!(begin(1, &other), EffectFate::New, "it was not sent");
    drop(journal);
    let journal = home.open();
    let unanswered = journal.unanswered_effects(&id(1)).unwrap();
    assert_eq!(unanswered.len(), 1, "{unanswered:?}");
    let unknown = journal.begin_effect(
        &EffectId {
            session: id(9),
            ..effect(0)
        },
        StepIndex(0),
        &post,
        "",
    );
    assert!(matches!(unknown, Err(JournalError::UnknownSession(_))));
}
