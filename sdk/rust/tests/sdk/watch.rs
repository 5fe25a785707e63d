//! Streams of events that take themselves up again.

use crate::fake::{End, Fake, WatchPlan, refusal, soon};
use forerun_proto::{reason, v1};
use forerun_sdk::{Event, EventKind, Events, Result, View};
use tonic::Code;

fn log(length: u64) -> Vec<v1::Event> {
    (1..=length)
        .map(|sequence| v1::Event {
            sequence,
            at_us: sequence,
            kind: Some(if sequence < length {
                v1::event::Kind::Continued(v1::event::Continued {
                    reason: sequence.to_string(),
                })
            } else {
                v1::event::Kind::Finished(v1::event::Finished::default())
            }),
        })
        .collect()
}

async fn sequences(events: &mut Events) -> Result<Vec<u64>> {
    let mut sequences = Vec::new();
    while let Some(event) = soon(events.next()).await {
        sequences.push(event?.sequence);
    }
    Ok(sequences)
}

fn broken_after(events: usize) -> WatchPlan {
    WatchPlan {
        events: Some(events),
        ..WatchPlan::default()
    }
}

#[tokio::test]
async fn however_often_the_stream_breaks_every_event_comes_once_and_in_order() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(40);
        state.plans = [3, 0, 1, 7, 0, 0, 12, 2].map(broken_after).into();
    }
    let all: Vec<u64> = (1..=40).collect();
    assert_eq!(
        sequences(&mut session.watch(View::Trace))
            .await
            .expect("resumes"),
        all
    );
    let after: Vec<u64> = fake
        .state()
        .watches
        .iter()
        .map(|watch| watch.after_sequence)
        .collect();
    assert_eq!(after, [0, 3, 3, 4, 11, 11, 11, 23, 25]);
}

#[tokio::test]
async fn what_is_sent_twice_is_given_once_and_what_was_left_out_is_asked_for() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(10);
        state.plans = [
            broken_after(6),
            WatchPlan {
                events: Some(5),
                rewind: 4,
                ..WatchPlan::default()
            },
            WatchPlan {
                skip: Some(9),
                end: Some(End::Open),
                ..WatchPlan::default()
            },
        ]
        .into();
    }
    let all: Vec<u64> = (1..=10).collect();
    assert_eq!(
        sequences(&mut session.watch(View::Trace))
            .await
            .expect("resumes"),
        all
    );
    let after: Vec<u64> = fake
        .state()
        .watches
        .iter()
        .map(|watch| watch.after_sequence)
        .collect();
    assert_eq!(after, [0, 6, 7, 8]);
}

#[tokio::test]
async fn the_presented_view_has_gaps_and_resumes_after_a_heartbeat() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(20)
            .into_iter()
            .filter(|event| event.sequence % 5 == 0)
            .collect();
        state.plans = [
            WatchPlan {
                events: Some(1),
                heartbeat: Some(9),
                ..WatchPlan::default()
            },
            WatchPlan {
                end: Some(End::Open),
                ..WatchPlan::default()
            },
        ]
        .into();
    }
    let mut steps = session.steps();
    assert_eq!(
        sequences(&mut steps).await.expect("resumes"),
        [5, 10, 15, 20]
    );
    let state = fake.state();
    assert_eq!(state.watches[0].view(), v1::View::Presented);
    assert_eq!(state.watches[1].after_sequence, 9);
}

#[tokio::test]
async fn a_refusal_is_the_last_item() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(3);
        let refused = refusal(
            Code::NotFound,
            reason::SESSION_NOT_FOUND,
            "no such session",
            "",
        );
        state.plans = [WatchPlan {
            events: Some(1),
            end: Some(End::Refuse(refused)),
            ..WatchPlan::default()
        }]
        .into();
    }
    let mut events = session.watch(View::Trace);
    assert_eq!(
        soon(events.next())
            .await
            .expect("one")
            .expect("event")
            .sequence,
        1
    );
    let error = soon(events.next())
        .await
        .expect("an item")
        .expect_err("refused");
    assert_eq!(error.code(), reason::SESSION_NOT_FOUND);
    assert!(soon(events.next()).await.is_none());
    assert_eq!(fake.state().watches.len(), 1);
}

#[tokio::test]
async fn a_reader_that_was_cut_off_for_being_slow_goes_on_where_it_was() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(4);
        let slow = refusal(
            Code::ResourceExhausted,
            reason::WATCHER_TOO_SLOW,
            "too slow",
            "",
        );
        state.plans = [WatchPlan {
            events: Some(2),
            end: Some(End::Refuse(slow)),
            ..WatchPlan::default()
        }]
        .into();
    }
    let mut events = session.watch(View::Trace);
    assert_eq!(sequences(&mut events).await.expect("resumes"), [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_event_of_an_unknown_kind_is_left_out_and_a_damaged_one_is_an_error() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(4);
        state.log[1].kind = None;
        state.log[2].kind = Some(v1::event::Kind::Waiting(v1::event::Waiting {
            step: 1,
            prefix: "no digest".to_owned(),
        }));
    }
    let mut events = session.watch(View::Trace);
    assert_eq!(
        soon(events.next())
            .await
            .expect("one")
            .expect("event")
            .sequence,
        1
    );
    let error = soon(events.next())
        .await
        .expect("an item")
        .expect_err("damaged");
    assert!(error.to_string().contains("waiting.prefix"), "{error}");
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn without_follow_the_stream_ends_and_from_a_position_it_starts_there() {
    let fake = Fake::started();
    let session = fake.session().await;
    fake.state().log = log(9)[..8].to_vec();
    let mut events = session.watch_from(View::Trace, 5, false);
    assert_eq!(sequences(&mut events).await.expect("ends"), [6, 7, 8]);
    assert!(!fake.state().watches[0].follow);
}

#[tokio::test]
async fn a_dropped_wait_loses_no_event() {
    let fake = Fake::started();
    let session = fake.session().await;
    {
        let mut state = fake.state();
        state.log = log(3);
        state.plans = [broken_after(1)].into();
    }
    let mut events = session.watch(View::Trace);
    let mut seen: Vec<Event> = Vec::new();
    while seen
        .last()
        .is_none_or(|event| !matches!(event.kind, EventKind::Finished { .. }))
    {
        tokio::select! {
            biased;
            event = events.next() => seen.push(event.expect("not over").expect("event")),
            () = tokio::task::yield_now() => {}
        }
    }
    let sequences: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
}
