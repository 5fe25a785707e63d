"""What an agent is: a pure function of the prefix that it is asked on.

An agent keeps no state of its own between calls: the same request means the same question, calls
come in any order and overlap, and a call that is not wanted any more is cancelled.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from forerun.values import Action, Candidate, Role, Step, Suggestion, Tool

CAPACITY = 8
"""How many calls an agent takes at once, unless it says otherwise."""

RETRY_AFTER = 5.0
"""Seconds to wait after a rate limit that says nothing of it."""

Entry: TypeAlias = Step | Suggestion
"""What came before: a step, or what the user said at that place."""
Proposal: TypeAlias = Action | Candidate | Sequence[Action | Candidate]
"""What an agent answers: an action, or candidates, best first."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to an agent: for the next step of a plan.

    Made by hand it tries an agent without a daemon.
    """

    task: str
    """What the user wants done."""
    instructions: str = ""
    """How to go about it."""
    entries: tuple[Entry, ...] = ()
    """What came before, oldest first."""
    tools: tuple[Tool, ...] = ()
    """The tools that can be called. `terminate` and `ask_user` always can be."""
    role: Role = Role.TARGET
    """The role in which it is asked."""
    width: int = 1
    """How many candidates are wanted at most."""
    prefix: str = ""
    """Digest of everything that the answer may depend on."""
    priority: int = 0
    """How many undecided steps lie before this one: 0 is the most urgent."""
    deadline: float | None = None
    """Seconds after which the answer is given up, from when it was asked."""
    progress: Callable[[int], object] = field(default=lambda _tokens: None, compare=False)
    """Says that the agent is still at it, with the tokens generated so far; renews the idle
    deadline, and is counted as wasted if the call is cancelled."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that came before, oldest first."""
        return tuple(entry for entry in self.entries if isinstance(entry, Step))

    @property
    def step(self) -> int:
        """The step that is asked for."""
        return len(self.steps)


class AgentError(Exception):
    """An agent can not answer. This one: asking again is pointless."""


class TransientError(AgentError):
    """It may work the next time."""


class RateLimitedError(AgentError):
    """No failure, but a request to slow down."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds to wait, if the model's service says so."""
        super().__init__(reason)
        known = retry_after is not None and math.isfinite(retry_after) and retry_after > 0
        self.retry_after = retry_after if known and retry_after is not None else RETRY_AFTER


@runtime_checkable
class Agent(Protocol):
    """Gives the next step of a plan.

    It may also have `model: str`, for people and for reports, and `capacity: int`, how many
    calls it takes at once.
    """

    async def propose(self, request: Request, /) -> Proposal:
        """Answer with the next step. Raise an `AgentError` if there is no answer."""
        ...


AgentFunction: TypeAlias = Callable[[Request], Awaitable[Proposal]]
"""An agent that is a coroutine function."""


@dataclass(frozen=True, slots=True)
class FunctionAgent:
    """A coroutine function as an agent, with what can be said about it."""

    function: AgentFunction
    model: str = ""
    capacity: int = CAPACITY

    async def propose(self, request: Request, /) -> Proposal:
        """Call the function."""
        return await self.function(request)

    async def __call__(self, request: Request, /) -> Proposal:
        """Call the function."""
        return await self.function(request)


def agent(*, model: str = "", capacity: int = CAPACITY) -> Callable[[AgentFunction], FunctionAgent]:
    """Decorate a coroutine function that is to be an agent, to say what it is.

    A plain coroutine function is one, too: this is for its model and capacity.
    """

    def decorate(function: AgentFunction) -> FunctionAgent:
        return FunctionAgent(function, model, capacity)

    return decorate


def as_agent(given: Agent | AgentFunction) -> Agent:
    """Return what was given as an agent.

    Raises `TypeError` if it is neither an agent nor a coroutine function.
    """
    if not isinstance(given, type):
        if inspect.iscoroutinefunction(getattr(given, "propose", None)):
            return given  # type: ignore[return-value]
        call = getattr(given, "__call__", None)  # noqa: B004
        if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call):
            return FunctionAgent(given)  # type: ignore[arg-type]
    message = (
        f"{given!r} is no agent: neither a coroutine function nor an object whose `propose` is one"
    )
    raise TypeError(message)


def candidates(proposal: Proposal) -> list[Candidate]:
    """Return a proposal as candidates, best first.

    Raises `TypeError` if it has anything else, or nothing.
    """
    given = [proposal] if isinstance(proposal, Action | Candidate) else list(proposal)
    found = [Candidate(each) if isinstance(each, Action) else each for each in given]
    for each in found:
        if not isinstance(each, Candidate):
            message = f"an agent answers with an Action or a Candidate, not {each!r}"
            raise TypeError(message)
    if not found:
        message = "the agent gave no candidate"
        raise TypeError(message)
    return found
