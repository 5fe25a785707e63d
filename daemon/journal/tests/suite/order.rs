//! Sequences: contiguous per session, in the order of the calls.

use super::*;

#[test]
fn concurrent_sessions_keep_their_own_order() {
    const SESSIONS: u8 = 8;
    const EVENTS: u64 = 100;
    let home = Home::new();
    let journal = home.open();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..SESSIONS {
            journal.create_session(&record(number)).unwrap();
            let journal = journal.clone();
            tasks.spawn(async move {
                for sequence in (1..=EVENTS).step_by(2) {
                    let events = vec![said(sequence), said(sequence + 1)];
                    let appended = journal.append(&id(number), events).await.unwrap();
                    assert_eq!(numbers(&appended), [sequence, sequence + 1]);
                }
            });
        }
        tasks.join_all().await;
    });
    for number in 0..SESSIONS {
        let events = journal.events(&id(number), 0, usize::MAX).unwrap();
        assert!(events.iter().map(|event| event.at.0).eq(1..=EVENTS));
        assert_eq!(journal.verify(&id(number)).unwrap().broken, None);
    }
}

#[test]
fn writers_of_one_session_leave_no_gap() {
    let home = Home::new();
    let journal = journal_with(&home, 0);
    let mut got: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let append = |n| journal.append_blocking(&id(1), vec![said(n)]).unwrap();
                    (0..50)
                        .flat_map(|n| numbers(&append(n)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    got.sort_unstable();
    assert!(got.into_iter().eq(1..=200));
    assert_eq!(journal.verify(&id(1)).unwrap().intact, 200);
}

#[test]
fn calls_made_at_once_are_done_in_their_order_even_when_nobody_waits() {
    let home = Home::new();
    let journal = journal_with(&home, 0);
    for number in 1..=300 {
        drop(journal.append(&id(1), vec![said(number)]));
    }
    let last = journal.append_blocking(&id(1), vec![said(301)]).unwrap();
    assert_eq!(numbers(&last), [301]);
    let events = journal.events(&id(1), 0, usize::MAX).unwrap();
    assert!(events.iter().all(|event| event.at.0 == event.sequence));
}

#[test]
fn events_are_read_in_pages() {
    let home = Home::new();
    let journal = journal_with(&home, 10);
    let page = |after, limit| numbers(&journal.events(&id(1), after, limit).unwrap());
    assert_eq!(page(0, 3), [1, 2, 3]);
    assert_eq!(page(8, 3), [9, 10]);
    assert_eq!(page(10, 3), [] as [u64; 0]);
    assert_eq!(page(u64::MAX, 3), [] as [u64; 0]);
    assert_eq!(page(3, 0), [] as [u64; 0]);
}

#[test]
fn a_reader_does_not_wait_for_the_writer() {
    let home = Home::new();
    let journal = journal_with(&home, 2);
    let connection = rusqlite::Connection::open(home.path().join("journal.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(numbers(&journal.events(&id(1), 0, 9).unwrap()), [1, 2]);
    connection.execute_batch("ROLLBACK").unwrap();
}
