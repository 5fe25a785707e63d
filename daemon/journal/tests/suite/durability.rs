//! What was acknowledged survives, whatever ends the process.

use super::*;
use forerun_journal::JournalError;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Tells the child process which state directory to write to.
const CHILD_DIRECTORY: &str = "FORERUN_JOURNAL_TEST_DIRECTORY";
/// Sessions that the child writes to at once.
const CHILD_SESSIONS: u8 = 3;

#[test]
fn everything_is_there_after_closing_and_opening() {
    let home = Home::new();
    let written = journal_with(&home, 7)
        .events(&id(1), 0, usize::MAX)
        .unwrap();
    let journal = home.open();
    assert_eq!(journal.events(&id(1), 0, usize::MAX).unwrap(), written);
    assert_eq!(journal.sessions().unwrap(), [record(1)]);
    assert_eq!(
        numbers(&journal.append_blocking(&id(1), vec![said(8)]).unwrap()),
        [8]
    );
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    for acknowledged_before_the_kill in [1, 40, 333] {
        let home = Home::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "durability::child_that_writes_until_killed",
            ])
            .env(CHILD_DIRECTORY, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = [0; CHILD_SESSIONS as usize];
        let mut count = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let Ok(line) = line else { break };
            // The test harness writes lines of its own; a last line may be cut short.
            let Some(("ack", rest)) = line.split_once(' ') else {
                continue;
            };
            let (session, sequence) = rest.split_once(' ').unwrap();
            let Some(sequence) = sequence.strip_suffix('.') else {
                continue;
            };
            acknowledged[session.parse::<usize>().unwrap()] = sequence.parse::<u64>().unwrap();
            count += 1;
            if count == acknowledged_before_the_kill {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(
            count >= acknowledged_before_the_kill,
            "the child ended by itself"
        );

        let journal = home.open();
        for (number, acknowledged) in (0..).zip(acknowledged) {
            if journal.session(&id(number)).unwrap().is_none() {
                assert_eq!(acknowledged, 0);
                continue;
            }
            let events = journal.events(&id(number), 0, usize::MAX).unwrap();
            assert!(
                events.len() as u64 >= acknowledged,
                "acknowledged events are lost"
            );
            assert!(numbers(&events).into_iter().eq(1..=events.len() as u64));
            for event in &events {
                assert_eq!(said(event.sequence), (event.at, event.kind.clone()));
            }
            let found = journal.verify(&id(number)).unwrap();
            assert_eq!((found.intact, found.broken), (events.len() as u64, None));
        }
    }
}

#[test]
#[ignore = "run as a child process, which is killed"]
fn child_that_writes_until_killed() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let journal = Journal::open(Path::new(&directory)).unwrap();
    let writers = (0..CHILD_SESSIONS).map(|number| {
        let journal = journal.clone();
        journal.create_session(&record(number)).unwrap();
        std::thread::spawn(move || {
            for sequence in 1.. {
                journal
                    .append_blocking(&id(number), vec![said(sequence)])
                    .unwrap();
                // One write a line, so that lines of two threads do not mix.
                let line = format!("ack {number} {sequence}.\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.join().unwrap();
    }
}

#[test]
fn appending_to_no_session_fails_and_spoils_nothing() {
    let home = Home::new();
    let journal = journal_with(&home, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (unknown, known) = runtime.block_on(async {
        let unknown = journal.append(&id(9), vec![said(1)]);
        let known = journal.append(&id(1), vec![said(2)]);
        (unknown.await, known.await)
    });
    assert!(matches!(unknown, Err(JournalError::UnknownSession(session)) if session == id(9)));
    assert_eq!(numbers(&known.unwrap()), [2]);
    assert_eq!(journal.verify(&id(1)).unwrap().intact, 2);
}

#[test]
fn of_events_that_are_appended_together_all_are_kept_or_none() {
    let home = Home::new();
    let journal = journal_with(&home, 1);
    let no_time = (Time(u64::MAX), EventKind::Paused);
    let refused = journal.append_blocking(&id(1), vec![said(2), no_time]);
    assert_eq!(refused.unwrap_err().code(), "journal_database");
    assert_eq!(journal.events(&id(1), 0, 9).unwrap().len(), 1);
    assert_eq!(
        numbers(&journal.append_blocking(&id(1), vec![said(2)]).unwrap()),
        [2]
    );
}
