//! The limits on time: how long a guest may keep its thread busy, and how long it may take.
//!
//! CPU time is the thread's own clock, read around every turn that a guest gets. It counts
//! what the guest computes and what the host does for it alike, and neither what the guest
//! waits for nor what other processes of the machine take. A guest that computes ends its turn
//! at each tick of the engine, so it is looked at once a tick; a call of the host is finished
//! first, and is bounded by what one call may move.

use crate::guest::LimitHit;
use forerun_types::{LimitName, Limits};
use rustix::time::{ClockId, clock_gettime};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a guest was parked, which is none of its wall time. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Waited>>);

#[derive(Default)]
struct Waited {
    total: Duration,
    /// How many waits there are now, and since when there is one.
    now: Option<(u32, Instant)>,
}

/// A wait; it ends when this is dropped.
pub(crate) struct Waiting(Waits);

impl Waits {
    pub(crate) fn begin(&self) -> Waiting {
        let mut waited = self.locked();
        let (count, since) = waited.now.unwrap_or((0, Instant::now()));
        waited.now = Some((count + 1, since));
        drop(waited);
        Waiting(self.clone())
    }

    /// All of it so far, a wait that is under way included.
    pub(crate) fn total(&self) -> Duration {
        let waited = self.locked();
        let now = waited.now.map(|(_, since)| since.elapsed());
        waited.total + now.unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waited = self.0.locked();
        match waited.now.take() {
            Some((1, since)) => waited.total += since.elapsed(),
            Some((count, since)) => waited.now = Some((count - 1, since)),
            None => {}
        }
    }
}

/// Runs what a guest does until it ends or its time is over, and adds the CPU time that it
/// took to `cpu`.
///
/// # Errors
/// What ended the guest, or the limit that it ran into.
pub(crate) async fn within<T>(
    limits: &Limits,
    waits: &Waits,
    cpu: &mut Duration,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let turns = Turns {
        work: Box::pin(work),
        limit: limits.cpu(),
        cpu,
    };
    let started = Instant::now();
    let over = async {
        loop {
            // While it waits, its time is put off again and again.
            let end = started + limits.wall() + waits.total();
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    };
    tokio::select! {
        biased;
        result = turns => result,
        () = over => Err(LimitHit(LimitName::WallTime).into()),
    }
}

/// Counts the CPU time of a future's turns, and ends it when they are too long.
struct Turns<'a, F> {
    work: Pin<Box<F>>,
    limit: Duration,
    cpu: &'a mut Duration,
}

impl<T, F: Future<Output = wasmtime::Result<T>>> Future for Turns<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = thread_cpu();
        let result = self.work.as_mut().poll(cx);
        *self.cpu += thread_cpu().saturating_sub(before);
        if result.is_pending() && *self.cpu > self.limit {
            return Poll::Ready(Err(LimitHit(LimitName::Cpu).into()));
        }
        result
    }
}

/// CPU time of this thread so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_ms: u64, wall_ms: u64) -> Limits {
        Limits {
            cpu_ms,
            wall_ms,
            ..Limits::default()
        }
    }

    /// Takes so much CPU time in each of its turns, for ever.
    async fn busy(each: Duration) -> wasmtime::Result<()> {
        loop {
            let started = thread_cpu();
            while thread_cpu() - started < each {}
            tokio::task::yield_now().await;
        }
    }

    fn limit(result: &wasmtime::Result<()>) -> Option<LimitName> {
        let hit: &LimitHit = result.as_ref().err()?.downcast_ref()?;
        Some(hit.0)
    }

    #[tokio::test]
    async fn long_turns_count_in_full() {
        let mut cpu = Duration::ZERO;
        let result = within(
            &limits(50, 60_000),
            &Waits::default(),
            &mut cpu,
            busy(Duration::from_millis(20)),
        )
        .await;
        assert_eq!(limit(&result), Some(LimitName::Cpu));
        assert!((50..80).contains(&cpu.as_millis()), "{cpu:?}");
    }

    #[tokio::test]
    async fn waiting_costs_no_cpu_and_runs_into_wall_time() {
        let (mut cpu, started) = (Duration::ZERO, Instant::now());
        let waits = Waits::default();
        let result = within(&limits(50, 100), &waits, &mut cpu, std::future::pending()).await;
        assert_eq!(limit(&result), Some(LimitName::WallTime));
        assert!(cpu < Duration::from_millis(50), "{cpu:?}");
        assert!(started.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_guest_that_is_parked_uses_no_wall_time() {
        let (mut cpu, started, waits) = (Duration::ZERO, Instant::now(), Waits::default());
        let parked = async {
            let waiting = (waits.begin(), waits.begin());
            tokio::time::sleep(Duration::from_millis(150)).await;
            drop(waiting);
            std::future::pending::<wasmtime::Result<()>>().await
        };
        let result = within(&limits(50, 100), &waits, &mut cpu, parked).await;
        assert_eq!(limit(&result), Some(LimitName::WallTime));
        assert!(started.elapsed() >= Duration::from_millis(250));
        assert!(
            waits.total() < Duration::from_millis(240),
            "two at once count once"
        );
    }
}
