//! What one input costs, at depth 10, after plans of several lengths. The budget is 2 µs per
//! input, however long the plan is.
//!
//! Both agents answer at once, so that ten target calls are always in flight: the proposals, their
//! executions, the verdicts and the commits of a step are four inputs. `right` has an approximation
//! agent that is never wrong; with `wrong` every verdict corrects it, and squashes the nine steps
//! below. What is measured is the processor time of [`INPUTS`] inputs, one after another, and of
//! making them: milliseconds of a measurement are microseconds of an input.
//!
//! On two virtual cores (AMD EPYC, 2.3 GHz), µs per input after so many verified steps:
//!
//! |         | 10  | 1,000 | 100,000 | allocations |
//! |---------|-----|-------|---------|-------------|
//! | `right` | 1.2 | 1.2   | 1.2     | 1.5         |
//! | `wrong` | 1.1 | 1.2   | 1.0     | 1.6         |

use cpu_time::CpuTime;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forerun_planner::{Candidate, Config, Effect, Input, Outcome, Planner, RetireResult};
use forerun_types::{
    ActionKey, ActionKind, CallId, Digest, ExecutionId, NodeId, PrefixId, Role, StepIndex, Time,
};
use std::collections::VecDeque;
use std::hint::black_box;

/// The depth of the budget.
const DEPTH: u32 = 10;
/// How many inputs are measured at once.
const INPUTS: u64 = 1000;

/// A session whose agents, sandboxes and commits answer whenever they are asked to.
#[derive(Clone)]
struct Session {
    planner: Planner,
    /// Whether the approximation agent says what the target will say.
    right: bool,
    now: u64,
    proposals: VecDeque<(CallId, StepIndex)>,
    verdicts: VecDeque<(CallId, StepIndex)>,
    executions: VecDeque<ExecutionId>,
    retiring: Option<NodeId>,
}

fn digest(of: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&of.to_le_bytes());
    Digest(bytes)
}

fn action(of: u64) -> Candidate {
    Candidate {
        action: ActionKey(digest(of)),
        kind: ActionKind::Tool,
        tool: 1,
    }
}

impl Session {
    fn new(right: bool) -> Session {
        let config = Config {
            depth: DEPTH,
            max_steps: u32::MAX,
            ..Config::default()
        };
        let mut session = Session {
            planner: Planner::new(config, PrefixId(digest(0))),
            right,
            now: 0,
            proposals: VecDeque::new(),
            verdicts: VecDeque::new(),
            executions: VecDeque::new(),
            retiring: None,
        };
        for role in [Role::Approximation, Role::Target] {
            let capacity = DEPTH;
            session.tell(Input::AgentAttached { role, capacity });
        }
        session
    }

    /// One with so many verified steps.
    fn verified(right: bool, steps: u32) -> Session {
        let mut session = Session::new(right);
        while session.planner.verified() < steps {
            session.next();
        }
        session
    }

    /// The next input: what is quick comes first, and verdicts come when nothing else does.
    fn next(&mut self) {
        let input = if let Some((call, step)) = self.proposals.pop_front() {
            let wrong = u64::from(!self.right) << 40;
            answer(call, u64::from(step.0) + wrong)
        } else if let Some(execution) = self.executions.pop_front() {
            let outcome = Outcome::Completed {
                observation: digest(self.now),
                changes: digest(self.now),
                next: PrefixId(digest(self.now)),
            };
            Input::Executed { execution, outcome }
        } else if let Some(node) = self.retiring.take() {
            let result = RetireResult::Done;
            Input::Retired { node, result }
        } else {
            let (call, step) = self.verdicts.pop_front().expect("the target is asked");
            answer(call, u64::from(step.0))
        };
        self.tell(input);
    }

    fn tell(&mut self, input: Input) {
        self.now += 1;
        for effect in self.planner.handle(Time(self.now), black_box(input)) {
            match effect {
                Effect::Ask {
                    call, role, step, ..
                } => match role {
                    Role::Approximation => self.proposals.push_back((call, step)),
                    Role::Target => self.verdicts.push_back((call, step)),
                },
                Effect::CancelCall { call } => {
                    self.proposals.retain(|(of, _)| *of != call);
                    self.verdicts.retain(|(of, _)| *of != call);
                }
                Effect::Execute { execution, .. } => self.executions.push_back(execution),
                Effect::StopExecution { execution } => {
                    self.executions.retain(|of| *of != execution);
                }
                Effect::Retire { node, .. } => self.retiring = Some(node),
                _ => {}
            }
        }
    }
}

fn answer(call: CallId, of: u64) -> Input {
    Input::Answered {
        call,
        candidate: action(of),
        others: Vec::new(),
        near: Vec::new(),
    }
}

fn inputs(criterion: &mut Criterion<CpuTime>) {
    for (name, right) in [("right", true), ("wrong", false)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(INPUTS));
        for verified in [10, 1_000, 100_000] {
            let session = Session::verified(right, verified);
            assert_eq!(session.planner.counters().peak_target_calls, DEPTH);
            let id = BenchmarkId::from_parameter(verified);
            group.bench_with_input(id, &session, |bencher, session| {
                bencher.iter_batched_ref(
                    || session.clone(),
                    |session| (0..INPUTS).for_each(|_| session.next()),
                    BatchSize::LargeInput,
                );
            });
            allocations::report(name, verified, &session);
        }
        group.finish();
    }
}

/// How often an input takes memory.
mod allocations {
    #![expect(unsafe_code, reason = "an allocator that counts has to be one")]

    use super::{INPUTS, Session};
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Counting;

    static COUNT: AtomicU64 = AtomicU64::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: everything is the system allocator's; `realloc` and `alloc_zeroed` come here by
    // their default ways.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            COUNT.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the caller keeps the contract of `alloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the contract of `dealloc`.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[expect(clippy::print_stdout, reason = "it is a figure of the bench")]
    pub(super) fn report(name: &str, verified: u32, session: &Session) {
        let mut session = session.clone();
        let before = COUNT.load(Ordering::Relaxed);
        (0..INPUTS).for_each(|_| session.next());
        let count = COUNT.load(Ordering::Relaxed) - before;
        let each = count as f64 / INPUTS as f64;
        println!("{name}/{verified}: {each:.1} allocations per input");
    }
}

/// Time of this thread alone, so that others who use the machine do not count.
mod cpu_time {
    use criterion::measurement::{Measurement, ValueFormatter, WallTime};
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub(super) struct CpuTime;

    fn now() -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("a thread has used some time")
    }

    impl Measurement for CpuTime {
        type Intermediate = Duration;
        type Value = Duration;

        fn start(&self) -> Duration {
            now()
        }

        fn end(&self, start: Duration) -> Duration {
            now() - start
        }

        fn add(&self, one: &Duration, other: &Duration) -> Duration {
            *one + *other
        }

        fn zero(&self) -> Duration {
            Duration::ZERO
        }

        fn to_f64(&self, value: &Duration) -> f64 {
            WallTime.to_f64(value)
        }

        fn formatter(&self) -> &dyn ValueFormatter {
            WallTime.formatter()
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = inputs
}
criterion_main!(benches);
