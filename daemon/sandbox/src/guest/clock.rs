//! The guest's clocks: virtual, so that every run of an action reads the same.
//!
//! Both clocks advance by a microsecond with each reading, so that a guest that waits
//! for a time to come gets there, and by the full time when a sleep ends. A sleep takes
//! its real time. The machine's own clock never shows.

use crate::time::Waits;
use forerun_snapshot::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Instant};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::{self, Datetime};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

/// What a reading costs in virtual nanoseconds; also the resolution.
const READING_NS: u64 = 1_000;

/// The clocks of one instance.
#[derive(Clone)]
pub(crate) struct Clock {
    start_ns: u64,
    elapsed_ns: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new(start_ns: u64) -> Clock {
        Clock {
            start_ns,
            elapsed_ns: Arc::new(AtomicU64::new(0)),
        }
    }

    fn read(&self) -> u64 {
        self.elapsed_ns.fetch_add(READING_NS, Ordering::Relaxed)
    }

    fn elapsed(&self) -> u64 {
        self.elapsed_ns.load(Ordering::Relaxed)
    }

    /// The wall clock, without advancing it.
    pub(crate) fn wall_timestamp(&self) -> Timestamp {
        timestamp(self.start_ns.saturating_add(self.elapsed()))
    }
}

/// Nanoseconds since 1970 as a time stamp.
pub(crate) fn timestamp(ns: u64) -> Timestamp {
    let time = Duration::from_nanos(ns);
    Timestamp {
        secs: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: time.subsec_nanos(),
    }
}

pub(crate) struct ClockView<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) waits: &'a Waits,
    pub(crate) table: &'a mut ResourceTable,
}

pub(crate) struct HasClock;

impl HasData for HasClock {
    type Data<'a> = ClockView<'a>;
}

impl wall_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        let now = self.clock.start_ns.saturating_add(self.clock.read());
        Ok(datetime(now))
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(READING_NS))
    }
}

fn datetime(ns: u64) -> Datetime {
    let time = Duration::from_nanos(ns);
    Datetime {
        seconds: time.as_secs(),
        nanoseconds: time.subsec_nanos(),
    }
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        Ok(self.clock.read())
    }

    fn resolution(&mut self) -> wasmtime::Result<Instant> {
        Ok(READING_NS)
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(self.clock.elapsed().saturating_add(duration))
    }
}

impl ClockView<'_> {
    fn subscribe(&mut self, deadline_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let remaining = deadline_ns.saturating_sub(self.clock.elapsed());
        let sleep = self.table.push(Sleep {
            clock: self.clock.clone(),
            deadline_ns,
            // A time that cannot be represented never comes.
            until: tokio::time::Instant::now().checked_add(Duration::from_nanos(remaining)),
            parked: self.waits.total(),
            waits: self.waits.clone(),
            over: false,
        })?;
        subscribe(self.table, sleep)
    }
}

/// Ends when its real time is over, without what the guest was parked, and then moves the
/// clocks to where they should be.
struct Sleep {
    clock: Clock,
    deadline_ns: u64,
    until: Option<tokio::time::Instant>,
    /// How long the guest had been parked when it began.
    parked: Duration,
    waits: Waits,
    over: bool,
}

impl Sleep {
    /// Its end, as things are: it stands still while the guest is parked.
    fn end(&self) -> Option<tokio::time::Instant> {
        let parked = self.waits.total().saturating_sub(self.parked);
        self.until?.checked_add(parked)
    }
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if self.over {
            return;
        }
        if self.clock.elapsed() >= self.deadline_ns {
            // Others on this thread get their turn even from a guest that only polls.
            tokio::task::yield_now().await;
        } else {
            while let Some(end) = self.end()
                && end > tokio::time::Instant::now()
            {
                tokio::time::sleep_until(end).await;
            }
            if self.until.is_none() {
                std::future::pending::<()>().await;
            }
            self.clock
                .elapsed_ns
                .fetch_max(self.deadline_ns, Ordering::Relaxed);
        }
        self.over = true;
    }
}
