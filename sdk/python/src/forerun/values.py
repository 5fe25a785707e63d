"""What is said about sessions, steps and changes: plain values, none of them tied to the wire.

Ids are texts with a prefix (`ses_…`, `commit_1`), digests 64 lower-case hex digits, steps are
counted from 0, durations and times are seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from forerun.errors import ArgumentError, ForerunError

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a JSON text can say."""


def seconds(wire: str) -> Any:  # noqa: ANN401
    """Declare a field in seconds that the wire has under another name, in `_us` or `_ms`."""
    return field(metadata={"wire": wire})


class Role(StrEnum):
    """What an agent does in a session."""

    APPROXIMATION = "approximation"
    """Fast, possibly wrong; proposes candidates for the next step."""
    TARGET = "target"
    """Slow, authoritative; its answer is the verdict."""


class Source(StrEnum):
    """Who an action comes from."""

    APPROXIMATION = "approximation"
    TARGET = "target"
    USER = "user"


class ObservationStatus(StrEnum):
    """How an action ended."""

    SUCCESS = "success"
    """The tool returned a result. Its changes are kept."""
    TOOL_ERROR = "tool_error"
    """The tool returned an error of its own. Its changes are kept."""
    INVALID = "invalid"
    """It could not be started: unknown tool, or arguments that break its schema."""
    DENIED = "denied"
    """Policy refused it."""
    STOPPED = "stopped"
    """A limit or a trap stopped the sandbox; nothing was changed."""


class LimitName(StrEnum):
    """What stopped a sandbox."""

    MEMORY = "memory"
    CPU = "cpu"
    WALL_TIME = "wall_time"
    DELTA = "delta"
    HANDLES = "handles"
    TRAP = "trap"
    INTERNAL = "internal"


class ChangeKind(StrEnum):
    """What happened to a path."""

    CREATED = "created"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    ATTRIBUTES = "attributes"
    """Only its mode or times are other."""


class Hit(StrEnum):
    """How much of an act had been done before it was asked for."""

    NONE = "none"
    JOINED = "joined"
    """It was running."""
    FULL = "full"
    """All of it."""


class Window(StrEnum):
    """When step i may start."""

    SLIDING = "sliding"
    """When step i - depth is decided."""
    BARRIER = "barrier"
    """When all steps of the window before are decided."""


class DepthControl(StrEnum):
    """How the depth of a session is found, up to the one that is configured."""

    FIXED = "fixed"
    """It is the one that is configured."""
    AUTO = "auto"
    """As many calls of the target as fit into the time of one."""
    DYNAMIC = "dynamic"
    """As far as the approximation agent is expected to be right."""


class CommitMode(StrEnum):
    """When verified changes reach the workspace."""

    STEP = "step"
    """Each step when it is verified."""
    SESSION = "session"
    """All at once, by `finish`."""


class AllowFor(StrEnum):
    """For how long the owner allows what policy put to them."""

    ONCE = "once"
    """This once."""
    SESSION = "session"
    """And the like, until the session ends."""
    ALWAYS = "always"
    """And the like, in every session under this policy set.

    The permit that the question shows (`Approval.always`) is added to the user's policies.
    It takes the owner key, so a session that was found with `existing`.
    """


class Finish(StrEnum):
    """What is to become of a session's changes."""

    COMMIT = "commit"
    """They are written to the workspace, all or none."""
    DISCARD = "discard"
    """They are dropped."""
    KEEP = "keep"
    """They stay with the daemon for a later `finish`."""


class SessionState(StrEnum):
    """What a session is doing."""

    OPEN = "open"
    PAUSED = "paused"
    STALLED = "stalled"
    """It waits for its owner; `SessionInfo.stall` says why."""
    ENDED = "ended"
    """The plan ended. With `CommitMode.SESSION`, a `finish` is awaited."""
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    """The daemon stopped before it ended."""


class View(StrEnum):
    """Which events a watcher sees."""

    PRESENTED = "presented"
    """The orderly stream for people."""
    TRACE = "trace"
    """Everything: every launch, answer, cancel and squash as well."""


class Speculation(StrEnum):
    """Whether and how a tool may run before its verdict."""

    NEVER = "never"
    CONTAINED = "contained"
    PURE = "pure"


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent wants done: a tool's name, and its arguments.

    `terminate` and `ask_user` are always there: see `Action.terminate` and `Action.ask_user`.
    """

    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict)

    @staticmethod
    def terminate(answer: str = "") -> Action:
        """End the plan; the answer is the session's result."""
        return Action("terminate", {"answer": answer})

    @staticmethod
    def ask_user(question: str) -> Action:
        """Ask the session's owner, whose answer is the observation."""
        return Action("ask_user", {"question": question})

    def to_json(self) -> str:
        """Return the arguments as JSON text.

        Raises `ArgumentError` if they can not be said in JSON.
        """
        try:
            return json.dumps(dict(self.arguments), allow_nan=False)
        except (TypeError, ValueError) as error:
            message = f"the arguments of {self.tool} are no JSON: {error}"
            raise ArgumentError(message) from error


@dataclass(frozen=True, slots=True)
class Observation:
    """What executing an action returned."""

    status: ObservationStatus
    text: str
    """The text that the tool returned, or the error."""
    structured: str | None = None
    """The tool's structured output as JSON text, if it gave any."""
    truncated: bool = False
    """Whether `text` was cut at the output limit."""
    limit: LimitName | None = None
    """What stopped it; only with `ObservationStatus.STOPPED`."""

    @property
    def ok(self) -> bool:
        """Whether the tool returned a result."""
        return self.status is ObservationStatus.SUCCESS

    def json(self) -> Json:
        """Return the structured output as Python values; `None` if there is none."""
        found: Json = None if self.structured is None else json.loads(self.structured)
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """A step that came before: what was done, and what it returned."""

    action: Action
    observation: Observation


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the user said at this place."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What answers cost."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of `input_tokens` that came from a cache."""
    output_tokens: int = 0
    cost_micros: int = 0
    """In millionths of the configured currency."""

    def __add__(self, other: Usage) -> Usage:
        """Sum of two."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_micros + other.cost_micros,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate for a step, with what an agent can say about it."""

    action: Action
    confidence: float | None = None
    """From 0 to 1, if the agent can tell."""
    note: str = ""
    """For people. Never part of what agents are asked on."""
    usage: Usage = field(default_factory=Usage)
    """What it cost. Those of one answer are summed."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """A tool's hints about itself, as in the Model Context Protocol."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as agents see it."""

    name: str
    title: str
    description: str
    input_schema: str
    """JSON Schema of the arguments, as JSON text."""
    output_schema: str | None
    annotations: Annotations
    deterministic: bool
    speculation: Speculation

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments as Python values."""
        found: dict[str, Any] = json.loads(self.input_schema)
        return found


@dataclass(frozen=True, slots=True)
class PathChange:
    """One changed path, relative to the workspace."""

    path: str
    kind: ChangeKind
    from_path: str | None = None
    """Where it was; only with `ChangeKind.RENAMED`."""


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One changed path with its difference."""

    path: str
    kind: ChangeKind
    from_path: str | None
    binary: bool
    """Whether the content is not text, so that `unified` only names it."""
    unified: str
    """In unified format; empty if only attributes are other."""


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A path that an undo did not touch, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stall:
    """Why a session waits for its owner."""

    step: int
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Approval:
    """What policy puts to the owner."""

    id: str
    step: int
    what: str
    """The action, or what the commit changes."""
    policies: tuple[str, ...]
    reason: str
    always: str | None
    """The permit that allows the like always, if one can."""


@dataclass(frozen=True, slots=True)
class AttachedAgent:
    """An agent of a session."""

    role: Role
    agent: str
    model: str
    capacity: int
    connected: bool
    """False while the daemon waits for it to attach again."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each there were so far."""

    verified: int
    committed: int
    proposed: int
    matched: int
    corrected: int
    squashed: int
    approximation_calls: int
    target_calls: int
    executions: int
    executions_dropped: int
    peak_calls: int
    """Calls of agents that were in flight at once, at most."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in seconds. Calls and executions overlap."""

    elapsed: float = seconds("elapsed_us")
    approximation: float = seconds("approximation_us")
    target: float = seconds("target_us")
    execution: float = seconds("execution_us")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session."""

    id: str
    state: SessionState
    stall: Stall | None
    workspace: str
    task: str
    instructions: str
    policy: str
    depth: int
    width: int
    window: Window
    max_steps: int
    predict: bool
    """Whether actions are predicted from what was done in the workspace before."""
    commit: CommitMode
    seed: int
    clock_ns: int
    opened_at_ms: int
    agents: tuple[AttachedAgent, ...]
    counts: Counts
    timings: Timings
    approximation_usage: Usage
    target_usage: Usage
    end_reason: str
    answer: str | None
    """The session's result, once there is one."""
    last_sequence: int
    approval: Approval | None
    """What waits for the owner, if anything does."""
    review: float = seconds("review_ms")


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a session's changes."""

    outcome: Finish
    commit: str | None
    changed: tuple[PathChange, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """A step's changes that were taken back, or brought back."""

    step: int
    """The last one, for a session that was committed as a whole."""
    undoes: str
    """The commit that was undone."""
    redo: bool
    """Whether that was itself an undo, so that the changes are back."""
    commit: str | None
    changed: tuple[PathChange, ...]
    left: tuple[LeftAlone, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """An act whose step is verified."""

    step: int
    observation: Observation
    commit: str | None
    """The commit that has its changes; `None` without any, and with `CommitMode.SESSION`."""
    changed: tuple[PathChange, ...]
    hit: Hit
    instead: Action | None
    """What the owner did in its place, if they did."""
    hidden: float = seconds("hidden_us")
    """Seconds of its execution that were over when it was asked for."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An act that waits for the owner; `act_result` goes on waiting."""

    reason: str
    approval: str | None
    """What policy put to the owner, if that is it."""


@dataclass(frozen=True, slots=True)
class Act:
    """What became of an act."""

    key: str
    """Names it, for `act_result`."""
    outcome: Done | Pending
    notices: tuple[str, ...]
    """What happened to the session since the last act that the caller should know."""

    @property
    def observation(self) -> Observation:
        """What it returned. Raises `PendingError` if it waits for the owner."""
        match self.outcome:
            case Done(observation=observation):
                return observation
            case Pending():
                raise PendingError(self)


class PendingError(ForerunError):
    """The observation of an act that waits for the owner was asked for."""

    code = "ACT_PENDING"
    hint = "`act_result` goes on waiting"

    def __init__(self, act: Act) -> None:
        """Say what it waits for."""
        pending = act.outcome
        reason = pending.reason if isinstance(pending, Pending) else ""
        super().__init__(f"it waits for the session's owner: {reason}")
        self.act = act


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """What runs, and where."""

    version: str
    pid: int
    state_dir: str
    endpoint: str
    sessions: int
    """Those that are not finished."""
    started_at_ms: int
