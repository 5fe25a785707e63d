//! The threads that sandboxes run on: each has a runtime of its own, and a sandbox
//! stays on its thread, for the hop between threads is what would cost.
//!
//! Guests on one thread take turns: one that computes yields at every tick.

use crate::config::{SandboxConfig, StartError};
use crate::engine::{Ticker, slots};
use crate::registry::Registry;
use crate::run::{Done, Execution};
use forerun_types::SnapshotId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Executors {
    threads: Vec<Thread>,
    places: Arc<Semaphore>,
    ticker: Ticker,
}

struct Thread {
    jobs: mpsc::UnboundedSender<Job>,
    load: Arc<AtomicUsize>,
}

/// Counts a job as long as it exists, run or dropped.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Executors {
    /// The threads end when this is dropped; what runs on them is stopped.
    pub(crate) fn start(config: &SandboxConfig, ticker: Ticker) -> Result<Executors, StartError> {
        let threads = (0..config.threads.max(1))
            .map(start_thread)
            .collect::<Result<_, _>>()?;
        Ok(Executors {
            threads,
            places: Arc::new(Semaphore::new(slots(config.max_concurrent))),
            ticker,
        })
    }

    /// Runs what ends an action on `parent`, once there is a place for it.
    pub(crate) fn run(
        &self,
        registry: &Arc<Registry>,
        parent: SnapshotId,
        action: impl Future<Output = Done> + Send + 'static,
    ) -> Execution {
        let (mut sender, receiver) = oneshot::channel();
        let registry = Arc::clone(registry);
        let execution = Execution::new(receiver, Arc::clone(&registry), parent);
        let places = Arc::clone(&self.places);
        let ticker = self.ticker.clone();
        self.spawn(async move {
            let work = async {
                // The semaphore is never closed; without a place the pool has the say.
                let _place = places.acquire().await;
                let _ticking = ticker.tick();
                action.await
            };
            let done = tokio::select! {
                biased;
                () = sender.closed() => return,
                done = work => done,
            };
            if let Err(done) = sender.send(done)
                && done.snapshot != parent
            {
                registry.drop_snapshot(done.snapshot);
            }
        });
        execution
    }

    /// Runs something to its end on a sandbox thread and waits for it. Must not be
    /// called on one.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let ticking = self.ticker.tick();
        self.spawn(async move {
            let _ticking = ticking;
            // The receiver waits below.
            let _ = sender.send(work.await);
        });
        receiver.recv().ok()
    }

    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let thread = self
            .threads
            .iter()
            .min_by_key(|thread| thread.load.load(Ordering::Relaxed));
        let Some(thread) = thread else { return };
        thread.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&thread.load));
        let job = async move {
            let _load = load;
            job.await;
        };
        // A thread lives as long as its sender, which is ours.
        let _ = thread.jobs.send(Box::pin(job));
    }
}

fn start_thread(index: usize) -> Result<Thread, StartError> {
    let (jobs, mut receiver) = mpsc::unbounded_channel::<Job>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(StartError::Thread)?;
    std::thread::Builder::new()
        .name(format!("forerun-sandbox-{index}"))
        .spawn(move || {
            runtime.block_on(async move {
                while let Some(job) = receiver.recv().await {
                    tokio::spawn(job);
                }
            });
        })
        .map_err(StartError::Thread)?;
    Ok(Thread {
        jobs,
        load: Arc::default(),
    })
}
