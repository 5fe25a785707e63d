//! Logs that are made by hand.

use forerun_report::Picture;
use forerun_types::{
    Action, AskEnd, CallId, CommitId, Digest, Event, EventKind, ExecutionEnd, ExecutionId, NodeId,
    PrefixId, Role, SessionId, Source, StepIndex, Time, Usage,
};

pub(crate) fn session() -> SessionId {
    SessionId::from_random([7; 10])
}

pub(crate) fn draw(events: &[Event]) -> String {
    let mut picture = Picture::new(&session());
    events.iter().for_each(|event| picture.add(event));
    picture.svg()
}

pub(crate) fn action(tool: &str) -> Action {
    Action::parse(tool, r#"{"path":"a \"quoted\" <name>"}"#).expect("valid")
}

pub(crate) fn prefix(number: u64) -> PrefixId {
    PrefixId(Digest::of(number.to_string()))
}

/// Events that come one after the other.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
}

impl Log {
    pub(crate) fn at(&mut self, ms: u64, kind: EventKind) {
        self.events.push(Event {
            sequence: self.events.len() as u64 + 1,
            at: Time(ms * 1000),
            kind,
        });
    }

    pub(crate) fn opened(&mut self) {
        self.at(
            0,
            EventKind::Opened {
                workspace: "/w".into(),
                task: "rename <it> & go".into(),
                policy: "coding".into(),
                audit: false,
                depth: 2,
            },
        );
    }

    pub(crate) fn asked(&mut self, ms: u64, call: u64, role: Role, step: u32) {
        self.at(
            ms,
            EventKind::Asked {
                call: CallId(call),
                role,
                step: StepIndex(step),
                prefix: prefix(u64::from(step)),
            },
        );
    }

    pub(crate) fn answered(&mut self, ms: u64, call: u64, role: Role, step: u32, tool: &str) {
        self.at(
            ms,
            EventKind::Answered {
                call: CallId(call),
                role,
                step: StepIndex(step),
                action: action(tool),
                others: Vec::new(),
                usage: Usage::default(),
            },
        );
    }

    pub(crate) fn call_ended(&mut self, ms: u64, call: u64, role: Role, step: u32, end: AskEnd) {
        self.at(
            ms,
            EventKind::CallEnded {
                call: CallId(call),
                role,
                step: StepIndex(step),
                end,
                reason: String::new(),
            },
        );
    }

    pub(crate) fn started(&mut self, ms: u64, execution: u64, node: u64, step: u32) {
        self.at(
            ms,
            EventKind::ExecutionStarted {
                execution: ExecutionId(execution),
                node: NodeId(node),
                step: StepIndex(step),
                speculative: true,
            },
        );
    }

    pub(crate) fn finished(&mut self, ms: u64, execution: u64, node: u64, step: u32) {
        self.at(
            ms,
            EventKind::ExecutionFinished {
                execution: ExecutionId(execution),
                node: NodeId(node),
                step: StepIndex(step),
                elapsed_us: 1000,
                observation: Digest::of(""),
                changes: Digest::of(""),
            },
        );
    }

    pub(crate) fn execution_ended(
        &mut self,
        ms: u64,
        execution: u64,
        node: u64,
        step: u32,
        end: ExecutionEnd,
    ) {
        self.at(
            ms,
            EventKind::ExecutionEnded {
                execution: ExecutionId(execution),
                node: NodeId(node),
                step: StepIndex(step),
                end,
            },
        );
    }

    pub(crate) fn proposed(&mut self, ms: u64, node: u64, step: u32, tool: &str) {
        self.at(
            ms,
            EventKind::Proposed {
                step: StepIndex(step),
                node: NodeId(node),
                prefix: prefix(u64::from(step)),
                action: action(tool),
                siblings: Vec::new(),
            },
        );
    }

    /// The verdict: of the node that was proposed, or another one that corrects it.
    pub(crate) fn verdict(&mut self, ms: u64, node: u64, step: u32, corrects: Option<u64>) {
        self.at(
            ms,
            EventKind::Answer {
                step: StepIndex(step),
                node: NodeId(node),
                source: Source::Target,
                action: action("read_file"),
                matched: corrects.is_none(),
                corrects: corrects.map(NodeId),
            },
        );
    }

    pub(crate) fn committed(&mut self, ms: u64, node: u64, step: u32) {
        self.at(
            ms,
            EventKind::Verified {
                step: StepIndex(step),
                node: NodeId(node),
                delta: Digest::of(""),
                changed: Vec::new(),
            },
        );
        self.at(
            ms,
            EventKind::Committed {
                step: StepIndex(step),
                commit: CommitId(u64::from(step) + 1),
                changed: Vec::new(),
            },
        );
    }

    pub(crate) fn ended(&mut self, ms: u64, steps: u32) {
        self.at(
            ms,
            EventKind::Ended {
                reason: "terminated".into(),
                answer: None,
                steps,
            },
        );
    }
}

/// A plan of so many steps: T takes 800 ms, A 200, and A is wrong at every fourth step.
pub(crate) fn plan(steps: u32) -> Log {
    let (approximation, target) = (Role::Approximation, Role::Target);
    let mut log = Log::default();
    log.opened();
    let mut start = 100;
    for step in 0..steps {
        let id = u64::from(step) * 4;
        let is_wrong = step % 4 == 1;
        log.asked(start, id, approximation, step);
        log.asked(start, id + 1, target, step);
        log.answered(start + 200, id, approximation, step, "read_file");
        log.started(start + 200, id, id, step);
        log.proposed(start + 200, id, step, "read_file");
        log.finished(start + 210, id, id, step);
        if is_wrong {
            // What was asked below the wrong candidate is cancelled.
            log.asked(start + 210, id + 2, approximation, step + 1);
            log.asked(start + 210, id + 3, target, step + 1);
            log.answered(start + 410, id + 2, approximation, step + 1, "grep");
        }
        log.answered(start + 800, id + 1, target, step, "read_file");
        log.call_ended(start + 800, id + 1, target, step, AskEnd::Used);
        let end = if is_wrong {
            AskEnd::Dropped
        } else {
            AskEnd::Used
        };
        log.call_ended(start + 800, id, approximation, step, end);
        if is_wrong {
            log.call_ended(
                start + 800,
                id + 2,
                approximation,
                step + 1,
                AskEnd::Dropped,
            );
            log.call_ended(start + 800, id + 3, target, step + 1, AskEnd::Dropped);
            log.at(
                start + 800,
                EventKind::Squashed {
                    node: NodeId(id),
                    step: StepIndex(step),
                    reason: "corrected".into(),
                },
            );
            log.execution_ended(start + 800, id, id, step, ExecutionEnd::Dropped);
            log.verdict(start + 800, id + 1, step, Some(id));
            log.started(start + 800, id + 1, id + 1, step);
            log.finished(start + 812, id + 1, id + 1, step);
            log.execution_ended(start + 820, id + 1, id + 1, step, ExecutionEnd::Used);
        } else {
            log.verdict(start + 800, id, step, None);
            log.execution_ended(start + 820, id, id, step, ExecutionEnd::Used);
        }
        log.committed(start + 820, id, step);
        start += 820;
    }
    log.ended(start, steps);
    log
}
