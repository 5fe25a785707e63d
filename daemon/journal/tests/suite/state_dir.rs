//! The state directory: private, locked, and nothing else's.

use super::*;
use forerun_journal::JournalError;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn error(home: &Home) -> JournalError {
    match Journal::open(&home.path()) {
        Ok(_) => panic!("the journal was opened"),
        Err(error) => error,
    }
}

#[test]
fn everything_in_it_is_private_even_if_it_was_not() {
    let home = Home::new();
    fs::create_dir(home.path()).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let journal = journal_with(&home, 3);
    assert_eq!(mode(&home.path()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "journal.db",
            "journal.db-shm",
            "journal.db-wal",
            "journal.key",
            "journal.lock"
        ]
    );
    drop(journal);
    fs::set_permissions(
        home.path().join("journal.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    drop(home.open());
    assert_eq!(mode(&home.path().join("journal.key")), 0o600);
}

#[test]
fn a_second_journal_is_refused_while_the_first_is_open() {
    let home = Home::new();
    let journal = home.open();
    let clone = journal.clone();
    drop(journal);
    assert!(matches!(error(&home), JournalError::InUse { .. }));
    drop(clone);
    drop(home.open());
}

#[test]
fn of_many_that_start_at_once_one_opens_and_the_key_stays() {
    let home = Home::new();
    let opened: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Journal::open(&home.path()).map(drop)))
            .collect();
        let results = racers.into_iter().map(|racer| racer.join().unwrap());
        results
            .map(|result| match result {
                Ok(()) => 1,
                Err(JournalError::InUse { .. }) => 0,
                Err(error) => panic!("{error}"),
            })
            .sum()
    });
    assert!(opened >= 1);
    let key = fs::read(home.path().join("journal.key")).unwrap();
    drop(journal_with(&home, 1));
    assert_eq!(fs::read(home.path().join("journal.key")).unwrap(), key);
    assert_eq!(home.open().verify(&id(1)).unwrap().broken, None);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let home = Home::new();
    drop(journal_with(&home, 1));
    home.tamper("UPDATE schema SET version = version + 95");
    let refused = error(&home);
    assert!(matches!(
        refused,
        JournalError::NewerSchema { found: 99, .. }
    ));
    assert!(refused.to_string().contains("version 99"), "{refused}");
    assert!(refused.hint().unwrap().contains("newer"));
    home.tamper("UPDATE schema SET version = version - 95");
    assert_eq!(home.open().verify(&id(1)).unwrap().intact, 1);
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_left_alone() {
    let home = Home::new();
    drop(home.open());
    let database = home.path().join("journal.db");
    let text = "a diary, not a journal\n".repeat(100);
    fs::write(&database, &text).unwrap();
    assert!(
        error(&home).to_string().contains("not a database"),
        "{}",
        error(&home)
    );
    assert_eq!(fs::read_to_string(&database).unwrap(), text);

    fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    drop(other);
    let before = fs::read(&database).unwrap();
    assert!(
        error(&home).to_string().contains("another program"),
        "{}",
        error(&home)
    );
    assert!(error(&home).hint().is_some());
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[test]
fn damage_inside_the_file_is_an_error_and_no_panic() {
    let home = Home::new();
    drop(journal_with(&home, 2_000));
    let database = home.path().join("journal.db");
    let mut bytes = fs::read(&database).unwrap();
    let length = bytes.len();
    // All but the first pages, which tell that it is a journal.
    bytes[length / 4..].fill(0x5a);
    fs::write(&database, bytes).unwrap();
    let found = Journal::open(&home.path())
        .and_then(|journal| journal.events(&id(1), 0, usize::MAX).map(drop));
    assert_eq!(found.unwrap_err().code(), "journal_corrupt");
}

#[test]
fn a_lost_or_another_key_is_noticed() {
    let home = Home::new();
    drop(journal_with(&home, 1));
    let key = home.path().join("journal.key");
    let bytes = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert_eq!(error(&home).code(), "journal_key_missing");
    for other in [&[7; 32][..], b"short", &[7; 33]] {
        fs::write(&key, other).unwrap();
        assert_eq!(error(&home).code(), "journal_key_mismatch");
    }
    fs::write(&key, bytes).unwrap();
    drop(home.open());
}

#[test]
fn a_directory_that_can_not_be_used_is_named() {
    let home = Home::new();
    fs::write(home.path(), "a file").unwrap();
    let refused = error(&home);
    assert_eq!(refused.code(), "journal_file");
    assert!(refused.to_string().contains(home.path().to_str().unwrap()));
}
