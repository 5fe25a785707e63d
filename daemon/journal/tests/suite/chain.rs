//! What was changed shows, and where.

use super::*;

/// What `verify` says after `statements`.
fn verdict(statements: &str) -> Option<u64> {
    let home = Home::new();
    drop(journal_with(&home, 5));
    home.tamper(statements);
    let found = home.open().verify(&id(1)).unwrap();
    if let Some(broken) = &found.broken {
        // What comes before the broken place can be trusted; the end may be whole itself.
        assert!((broken.sequence.saturating_sub(1)..=broken.sequence).contains(&found.intact));
    }
    found.broken.map(|broken| broken.sequence)
}

#[test]
fn an_untouched_log_verifies() {
    let home = Home::new();
    let found = journal_with(&home, 5).verify(&id(1)).unwrap();
    assert_eq!((found.intact, found.broken), (5, None));
    assert_eq!(verdict("UPDATE sessions SET state = 'finished'"), None);
}

#[test]
fn the_first_changed_event_is_named() {
    assert_eq!(
        verdict("UPDATE events SET kind = replace(kind, 'line', 'lime') WHERE sequence IN (3, 5)"),
        Some(3)
    );
    assert_eq!(
        verdict("UPDATE events SET at_us = 7 WHERE sequence = 1"),
        Some(1)
    );
    assert_eq!(
        verdict("UPDATE events SET kind = 4.5 WHERE sequence = 2"),
        Some(2)
    );
    assert_eq!(
        verdict("UPDATE events SET link = zeroblob(32) WHERE sequence = 4"),
        Some(4)
    );
}

#[test]
fn a_removed_an_added_and_a_swapped_event_are_named() {
    assert_eq!(verdict("DELETE FROM events WHERE sequence = 2"), Some(2));
    assert_eq!(
        verdict(
            "INSERT INTO events SELECT session, 6, at_us, kind, link FROM events WHERE sequence = 5"
        ),
        Some(6)
    );
    assert_eq!(
        verdict(
            "UPDATE events SET sequence = 99 WHERE sequence = 2;
             UPDATE events SET sequence = 2 WHERE sequence = 3;
             UPDATE events SET sequence = 3 WHERE sequence = 99"
        ),
        Some(2)
    );
}

#[test]
fn what_is_missing_is_told_from_what_was_changed() {
    let reason = |statements: &str| {
        let home = Home::new();
        drop(journal_with(&home, 5));
        home.tamper(statements);
        home.open().verify(&id(1)).unwrap().broken.unwrap().reason
    };
    assert_eq!(
        reason("DELETE FROM events WHERE sequence = 2"),
        "the event is missing"
    );
    assert_eq!(
        reason("UPDATE events SET at_us = 7 WHERE sequence = 2"),
        "the event was changed"
    );
    assert_eq!(
        reason("DELETE FROM events WHERE sequence = 5"),
        "the end of the log was cut"
    );
}

#[test]
fn a_cut_end_shows_even_if_the_count_was_made_to_fit() {
    assert_eq!(verdict("DELETE FROM events WHERE sequence > 3"), Some(4));
    assert_eq!(
        verdict(
            "DELETE FROM events WHERE sequence > 3;
             UPDATE sessions SET sequence = 3,
                 last = (SELECT link FROM events WHERE sequence = 3)"
        ),
        Some(3)
    );
    assert_eq!(verdict("DELETE FROM events"), Some(1));
    assert_eq!(
        verdict("DELETE FROM events; UPDATE sessions SET sequence = 0"),
        Some(0)
    );
}

#[test]
fn a_changed_record_shows() {
    let changed = "UPDATE sessions SET record = replace(record, 'fix', 'mix')";
    assert_eq!(verdict(changed), Some(1));
    assert_eq!(verdict("UPDATE sessions SET head = zeroblob(32)"), Some(5));
    assert_eq!(verdict("UPDATE sessions SET last = zeroblob(32)"), Some(5));
}

#[test]
fn one_session_can_not_be_passed_off_as_another() {
    let home = Home::new();
    let journal = journal_with(&home, 3);
    journal.create_session(&record(2)).unwrap();
    journal
        .append_blocking(&id(2), (1..=3).map(said).collect())
        .unwrap();
    drop(journal);
    home.tamper(
        "PRAGMA foreign_keys = off;
         UPDATE events SET session = 9 WHERE session = 1;
         UPDATE events SET session = 1 WHERE session = 2;
         UPDATE events SET session = 2 WHERE session = 9",
    );
    let journal = home.open();
    for session in [id(1), id(2)] {
        assert!(journal.verify(&session).unwrap().broken.is_some());
    }
}
