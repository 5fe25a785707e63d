"""The events of a session's log, as its watchers see them.

Each was journaled before anybody saw it. `Session.steps()` gives those for people, in an
orderly stream; `Session.watch(View.TRACE)` gives all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from forerun.values import (
    Action,
    LeftAlone,
    Observation,
    PathChange,
    Role,
    Source,
    Usage,
    seconds,
)


class AskEnd(StrEnum):
    """How a call of an agent ended. Every call ends exactly once."""

    USED = "used"
    DROPPED = "dropped"
    FAILED = "failed"


class Predictor(StrEnum):
    """Who predicts an action without being asked for it."""

    HISTORY = "history"
    """What was done in the workspace before."""
    CALLER = "caller"
    """The agent that keeps its own loop."""


class ExecutionEnd(StrEnum):
    """How an execution ended. Every execution ends exactly once."""

    USED = "used"
    DROPPED = "dropped"
    FAILED = "failed"


class ApprovalEnd(StrEnum):
    """How a question that policy put to the owner ended."""

    ALLOWED = "allowed"
    ALLOWED_FOR_SESSION = "allowed_for_session"
    ALLOWED_ALWAYS = "allowed_always"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"


class EffectEnd(StrEnum):
    """What became of something that an action does beyond the workspace."""

    ANSWERED = "answered"
    REPLAYED = "replayed"
    """It was sent when the action ran before, and the answer of then was used."""
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It was sent, or may have been, and there is no answer. It is not sent again."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event has."""

    sequence: int = field(default=0, metadata={"wire": None})
    """Position in the session's log, from 1. The presented view leaves out the trace."""
    at: float = field(default=0.0, metadata={"wire": None})
    """Seconds since the session was opened."""


@dataclass(frozen=True)
class Opened(Event):
    """The session was opened."""

    workspace: str
    task: str
    policy: str
    audit: bool
    """What policy refuses is only noted."""
    depth: int


@dataclass(frozen=True)
class AgentAttached(Event):
    """An agent took a role, or took it again."""

    role: Role
    agent: str
    model: str
    capacity: int
    reattached: bool


@dataclass(frozen=True)
class AgentDetached(Event):
    """An agent's stream ended. Its calls wait for a while, then fail."""

    role: Role
    agent: str
    reattach: float = seconds("reattach_ms")


@dataclass(frozen=True)
class AgentLost(Event):
    """The re-attach window is over."""

    role: Role
    agent: str


@dataclass(frozen=True)
class Asked(Event):
    """A call of an agent was launched."""

    call: str
    role: Role
    step: int
    prefix: str


@dataclass(frozen=True)
class Answered(Event):
    """An agent answered; the answer may still be dropped."""

    call: str
    role: Role
    step: int
    action: Action
    usage: Usage
    others: tuple[Action, ...]


@dataclass(frozen=True)
class Predicted(Event):
    """Candidates that no agent was asked for, executed beside the approximation agent's."""

    step: int
    by: Predictor
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class CallEnded(Event):
    """A call ended."""

    call: str
    role: Role
    step: int
    end: AskEnd
    reason: str


@dataclass(frozen=True)
class PolicyDecided(Event):
    """Policy decided a call of a tool, a request, a touch or a commit."""

    node: str | None
    step: int
    speculative: bool
    decision: str
    policies: tuple[str, ...]
    reason: str
    inputs: str
    """What was asked, in JSON."""
    enforced: str | None
    """What would have been decided, if this was only noted."""


@dataclass(frozen=True)
class ExecutionStarted(Event):
    """An action was started."""

    execution: str
    node: str
    step: int
    speculative: bool


@dataclass(frozen=True)
class ExecutionFinished(Event):
    """An action ended; the observation may still be dropped."""

    execution: str
    node: str
    step: int
    observation: str
    """Digest of everything an agent sees of it."""
    changes: str
    """Digest of the net changes."""
    elapsed: float = seconds("elapsed_us")


@dataclass(frozen=True)
class NotExecuted(Event):
    """An action was held by policy, or stopped by a limit of speculation.

    It runs at its verdict.
    """

    execution: str
    node: str
    step: int
    reason: str


@dataclass(frozen=True)
class ExecutionEnded(Event):
    """An execution was accounted for."""

    execution: str
    node: str
    step: int
    end: ExecutionEnd


@dataclass(frozen=True)
class Squashed(Event):
    """A node left the tree without being verified."""

    node: str
    step: int
    reason: str


@dataclass(frozen=True)
class Sibling:
    """A candidate beside the first one."""

    node: str
    action: Action


@dataclass(frozen=True)
class Proposed(Event):
    """What the approximation agent proposes, best first."""

    step: int
    node: str
    prefix: str
    action: Action
    siblings: tuple[Sibling, ...]


@dataclass(frozen=True)
class Observed(Event):
    """What executing a presented node returned."""

    step: int
    node: str
    observation: Observation


@dataclass(frozen=True)
class Waiting(Event):
    """The step's verdict is awaited; it can be interrupted."""

    step: int
    prefix: str


@dataclass(frozen=True)
class Answer(Event):
    """The target's or the user's action for the step."""

    step: int
    node: str
    source: Source
    action: Action
    matched: bool
    """Whether it equals something that was proposed; `node` says which."""
    corrects: str | None
    """The node that it replaces."""


@dataclass(frozen=True)
class Decided(Event):
    """The step's action is decided."""

    step: int
    node: str
    source: Source
    action: Action


@dataclass(frozen=True)
class ReviewOpened(Event):
    """A review window is open, until this time of the session."""

    step: int
    node: str
    until: float = seconds("until_us")


@dataclass(frozen=True)
class Claimed(Event):
    """A person is deciding this step; the target's answer is shown, but is no verdict."""

    step: int
    until: float = seconds("until_us")


@dataclass(frozen=True)
class Unclaimed(Event):
    """The claim ended."""

    step: int
    reason: str


@dataclass(frozen=True)
class Question(Event):
    """The owner is asked."""

    step: int
    node: str
    question: str


@dataclass(frozen=True)
class Verified(Event):
    """The step left the tree: decided, executed, reviewed, recorded."""

    step: int
    node: str
    delta: str
    """Digest of what the verdict is bound to."""
    changed: tuple[PathChange, ...]


@dataclass(frozen=True)
class Committed(Event):
    """The step's changes are in the workspace."""

    step: int
    commit: str
    changed: tuple[PathChange, ...]


@dataclass(frozen=True)
class Suggested(Event):
    """The owner said something; agents are asked on it from this step on."""

    step: int
    text: str


@dataclass(frozen=True)
class Backtracked(Event):
    """The owner went back: this step and all after it are undone, and it is decided anew."""

    step: int
    generation: int
    """How often the owner went back."""


@dataclass(frozen=True)
class ApprovalRequested(Event):
    """Policy puts the step's action, or its commit, to the owner; the step waits."""

    step: int
    node: str
    approval: str
    what: str
    policies: tuple[str, ...]
    reason: str
    always: str | None
    """The permit that allows the like always, if one can."""


@dataclass(frozen=True)
class ApprovalEnded(Event):
    """The owner is not asked any more."""

    step: int
    approval: str
    end: ApprovalEnd
    reason: str


@dataclass(frozen=True)
class EffectHeld(Event):
    """An action wants to send something; it waits until its step is decided and reviewed."""

    step: int
    node: str
    effect: int
    """Which of the action's effects it is, from 0."""
    what: str
    reason: str


@dataclass(frozen=True)
class EffectSent(Event):
    """It is being sent."""

    step: int
    node: str
    effect: int
    what: str


@dataclass(frozen=True)
class EffectEnded(Event):
    """What became of it. Without an `EffectSent` before, nothing was sent."""

    step: int
    node: str
    effect: int
    what: str
    end: EffectEnd
    detail: str


@dataclass(frozen=True)
class Stalled(Event):
    """The session waits for its owner."""

    step: int
    reason: str
    hint: str


@dataclass(frozen=True)
class Continued(Event):
    """The session goes on after a stall."""

    reason: str


@dataclass(frozen=True)
class Paused(Event):
    """The owner paused the session."""


@dataclass(frozen=True)
class Resumed(Event):
    """The owner resumed the session."""


@dataclass(frozen=True)
class Refused(Event):
    """An interrupt, an answer or a message was refused."""

    what: str
    reason: str


@dataclass(frozen=True)
class Ended(Event):
    """The plan ended."""

    reason: str
    answer: str | None
    steps: int


@dataclass(frozen=True)
class Finished(Event):
    """What became of the changes: `committed`, `discarded`, or `undone` by a stop."""

    outcome: str
    commit: str | None
    changed: tuple[PathChange, ...]


@dataclass(frozen=True)
class Interrupted(Event):
    """The daemon stopped before the session ended."""

    reason: str


@dataclass(frozen=True)
class Kept(Event):
    """A version of somebody else, found where a commit put ours, is kept aside."""

    commit: str
    path: str
    copy: str
    """Where it is now, relative to the workspace."""


@dataclass(frozen=True)
class Undone(Event):
    """A step's changes were taken back, or brought back."""

    step: int
    undoes: str
    redo: bool
    commit: str | None
    changed: tuple[PathChange, ...]
    left: tuple[LeftAlone, ...]
