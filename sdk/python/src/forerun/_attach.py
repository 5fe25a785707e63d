"""Attaches an agent to a session: the daemon asks over a stream, the agent answers.

Each call runs at most once at a time and is ended by one message: its answer, its failure, or
the acknowledgement of its cancellation. A broken stream stops no call and loses no answer:
those that the daemon still waits for are sent on the next stream.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forerun._read import read
from forerun._rpc import PROTOCOL, hear, heartbeat, require_protocol
from forerun._wire import agent_pb2, common_pb2
from forerun.agents import (
    CAPACITY,
    AgentError,
    RateLimitedError,
    Request,
    TransientError,
    candidates,
)
from forerun.errors import (
    ArgumentError,
    ForerunError,
    InvalidMessageError,
    is_passing,
)
from forerun.values import Action, Observation, Role, Step, Suggestion, Tool, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from forerun._rpc import Connection
    from forerun.agents import Agent, Entry, Proposal

_LOG = logging.getLogger("forerun")

REATTACH_FOR = 120.0
"""Seconds for which a broken stream is taken up again before the agent gives up."""
_WAIT_MIN, _WAIT_MAX = 0.02, 2.0
"""Pauses before attaching again, in seconds; each is twice as long as the one before."""
WELCOME_TIMEOUT = 30.0
"""Seconds that the daemon may take to welcome an agent."""
DETACH_TIMEOUT = 2.0
"""Seconds for which a stream that we close waits for the daemon to see it."""
CAPACITY_MAX = 1_000
"""Most calls at once that are asked for; the daemon takes fewer."""
PREFIXES_MAX = 4_096
"""Prefixes that are remembered; a call that builds on an older one asks for the whole."""
ANSWERS_KEPT_MAX = 256
"""Answers that are kept in case they did not arrive."""
TOKENS_MAX = 1 << 40
"""More than any answer has."""
PROGRESS_EVERY = 1.0
"""Least seconds between two reports of one call's progress."""

_ROLES = {
    Role.APPROXIMATION: common_pb2.ROLE_APPROXIMATION,
    Role.TARGET: common_pb2.ROLE_TARGET,
}


@dataclass(frozen=True)
class _Prefix:
    task: str
    instructions: str
    entries: tuple[Entry, ...]


@dataclass(eq=False)
class _Call:
    report_every: float
    """Least seconds between two reports of its progress."""
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    """Whether its answer is not wanted any more."""
    output_tokens: int = 0
    reported: float = 0.0

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class Attachment:
    """An attached agent. Letting go of this leaves it attached."""

    def __init__(self, worker: _Worker, task: asyncio.Task[str]) -> None:
        """Made by `Session.attach`."""
        self._worker = worker
        self._task = task

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self._worker.agent_id

    @property
    def role(self) -> Role:
        """What it does."""
        return self._worker.role

    @property
    def is_over(self) -> bool:
        """Whether it answers no more."""
        return self._task.done()

    async def ended(self) -> str:
        """Wait until the session needs it no more, and return why.

        Raises `ForerunError` if the daemon refuses to take it back after a broken connection,
        or can not be reached for long.
        """
        return await asyncio.shield(self._task)

    async def detach(self) -> None:
        """Take the agent away: its calls fail at once instead of waiting for it."""
        self._worker.leave()
        # A daemon that does not close its side either has read everything or never will.
        await asyncio.wait([self._task], timeout=DETACH_TIMEOUT)
        self._task.cancel()
        with suppress(asyncio.CancelledError, ForerunError):
            await self._task


async def attach(  # noqa: PLR0913
    connection: Connection,
    session: str,
    token: str,
    role: Role,
    agent: Agent,
    *,
    agent_id: str | None,
    model: str | None,
    capacity: int | None,
) -> Attachment:
    """Attach `agent`, and answer in a task from then on. Raises `ForerunError`."""
    worker = _Worker(
        connection,
        session,
        token,
        role,
        agent,
        agent_id=agent_id or f"{role}-{secrets.token_hex(6)}",
        model=str(getattr(agent, "model", "") if model is None else model),
        capacity=min(max(1, _capacity(agent) if capacity is None else capacity), CAPACITY_MAX),
    )
    welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(worker.run(welcomed), name=f"forerun-{worker.agent_id}")
    try:
        await welcomed
    except asyncio.CancelledError:
        task.cancel()
        raise
    return Attachment(worker, task)


def _capacity(agent: Agent) -> int:
    """Return how many calls the agent says that it takes at once."""
    said = getattr(agent, "capacity", CAPACITY)
    return said if isinstance(said, int) else CAPACITY


class _ClosingError(Exception):
    """The session needs no more answers."""


class _Worker:
    """The agent's side of the conversation."""

    def __init__(  # noqa: PLR0913
        self,
        connection: Connection,
        session: str,
        token: str,
        role: Role,
        agent: Agent,
        *,
        agent_id: str,
        model: str,
        capacity: int,
    ) -> None:
        self.agent_id = agent_id
        self.role = role
        self._connection = connection
        self._session = session
        self._token = token
        self._agent = agent
        self._model = model
        self._capacity = capacity
        self._tools: tuple[Tool, ...] = ()
        self._tools_digest = ""
        self._prefixes: OrderedDict[str, _Prefix] = OrderedDict()
        self._calls: dict[str, _Call] = {}
        self._answers: OrderedDict[str, agent_pb2.AgentServiceAttachRequest] = OrderedDict()
        self._outgoing: asyncio.Queue[agent_pb2.AgentServiceAttachRequest | None] = asyncio.Queue()
        self._taken = False
        """Whether the daemon has welcomed the agent on this stream."""
        self._leaving = False
        self._failing: float | None = None
        """Since when no stream was welcomed."""
        self._wait = _WAIT_MIN

    async def run(self, welcomed: asyncio.Future[None]) -> str:
        """Serve streams until the session needs no more answers; return why."""
        try:
            while True:
                self._taken = False
                try:
                    await self._serve(welcomed)
                except _ClosingError as closing:
                    return str(closing)
                except ForerunError as error:
                    if self._leaving:
                        return "detached"
                    await self._rest_after(error, welcomed)
        except Exception as error:
            if welcomed.done():
                _LOG.error("the %s agent %s is gone: %s", self.role, self.agent_id, error)
                raise
            welcomed.set_exception(error)
            return "refused"
        finally:
            for call in self._calls.values():
                call.cancel()
            if not welcomed.done():
                welcomed.cancel()

    async def _rest_after(self, error: ForerunError, welcomed: asyncio.Future[None]) -> None:
        """Pause before another stream is opened. Raises the error if none is to be."""
        now = time.monotonic()
        if self._failing is None or self._taken:
            self._failing, self._wait = now, _WAIT_MIN
        late = now - self._failing > REATTACH_FOR
        if late or not welcomed.done() or not is_passing(error):
            raise error
        _LOG.debug("%s attaches again: %s", self.agent_id, error)
        await asyncio.sleep(self._wait)
        self._wait = min(2 * self._wait, _WAIT_MAX)

    def leave(self) -> None:
        """Say that every call has failed, and close our side of the stream."""
        self._leaving = True
        for call, running in list(self._calls.items()):
            self._send(self._failed(call, TransientError("the agent left")))
            running.cancel()
        self._outgoing.put_nowait(None)

    async def _serve(self, welcomed: asyncio.Future[None]) -> None:
        """Serve one stream. Ends with an error: also a daemon that ends it is one."""
        outgoing = self._outgoing = asyncio.Queue()
        hello = agent_pb2.Hello(
            protocol=common_pb2.ProtocolVersion(major=PROTOCOL[0], minor=PROTOCOL[1]),
            session=self._session,
            agent=self.agent_id,
            model=self._model,
            roles=[agent_pb2.RoleCapacity(role=_ROLES[self.role], capacity=self._capacity)],
            open_calls=[*self._calls, *self._answers],
        )
        outgoing.put_nowait(agent_pb2.AgentServiceAttachRequest(hello=hello))
        stream = self._connection.converse(
            "AgentService/Attach",
            _drain(outgoing),
            agent_pb2.AgentServiceAttachResponse,
            self._token,
        )
        silence = WELCOME_TIMEOUT
        beat: asyncio.Task[None] | None = None
        try:
            async with aclosing(stream):
                while True:
                    message = await hear(stream, silence)
                    if message.HasField("welcome"):
                        self._taken = True
                        every = self._welcome(message.welcome)
                        silence = 3 * every
                        beat = beat or asyncio.create_task(self._beat(every))
                        if not welcomed.done():
                            welcomed.set_result(None)
                    else:
                        self._handle(message)
        finally:
            outgoing.put_nowait(None)
            if beat is not None:
                beat.cancel()

    def _handle(self, message: agent_pb2.AgentServiceAttachResponse) -> None:
        match message.WhichOneof("message"):
            case "generate":
                self._generate(message.generate)
            case "cancel":
                self._cancel(message.cancel.call)
            case "forget":
                for prefix in message.forget.prefixes:
                    self._prefixes.pop(prefix, None)
            case "closing":
                raise _ClosingError(message.closing.reason)
            case _:
                # A heartbeat was heard; another kind is of a later version.
                pass

    def _welcome(self, welcome: agent_pb2.Welcome) -> float:
        """Take up what the daemon still waits for; return the heartbeat in seconds."""
        require_protocol(welcome.protocol.major, welcome.protocol.minor)
        self._tools = tuple(read(Tool, tool) for tool in welcome.tools.tools)
        self._tools_digest = welcome.tools.digest
        wanted = set(welcome.open_calls)
        for call in set(self._calls) - wanted:
            self._calls[call].cancel()
        for call in set(self._answers) - wanted:
            del self._answers[call]
        for answer in self._answers.values():
            self._send(answer)
        return heartbeat(welcome.heartbeat_ms)

    async def _beat(self, every: float) -> None:
        alive = agent_pb2.AgentServiceAttachRequest(heartbeat=agent_pb2.AgentHeartbeat())
        while True:
            await asyncio.sleep(every)
            self._send(alive)

    def _generate(self, generate: agent_pb2.Generate) -> None:
        """Start a call, or say why it can not be started."""
        call = generate.call
        if call in self._calls:
            return
        if call in self._answers:
            self._send(self._answers[call])
            return
        if generate.tools_digest != self._tools_digest:
            self._fail(call, "the call is about other tools than those of the welcome")
            return
        try:
            prefix = self._resolve(generate)
        except InvalidMessageError as error:
            self._fail(call, str(error))
            return
        if prefix is None:
            rebase = agent_pb2.Rebase(call=call)
            self._send(agent_pb2.AgentServiceAttachRequest(rebase=rebase))
            return
        loop = asyncio.get_running_loop()
        request = Request(
            task=prefix.task,
            instructions=prefix.instructions,
            entries=prefix.entries,
            tools=self._tools,
            role=self.role,
            width=max(1, generate.width),
            prefix=generate.prefix,
            priority=generate.priority,
            deadline=generate.deadline_ms / 1_000 if generate.deadline_ms else None,
            # Agents call it from threads, too.
            progress=lambda tokens: loop.call_soon_threadsafe(self._progress, call, tokens),
        )
        idle = generate.idle_deadline_ms / 4_000
        running = _Call(report_every=min(PROGRESS_EVERY, idle or PROGRESS_EVERY))
        # First: a task may be done before it is returned.
        self._calls[call] = running
        running.task = asyncio.create_task(
            self._answer(call, request, running), name=f"forerun-{call}"
        )

    def _resolve(self, generate: agent_pb2.Generate) -> _Prefix | None:
        """Return the prefix of a call; `None` if it builds on one that is not known."""
        base = None
        if generate.HasField("base"):
            base = self._prefixes.get(generate.base)
            if base is None:
                return None
        prefix = _append(base or _Prefix("", "", ()), generate.append)
        self._prefixes[generate.prefix] = prefix
        while len(self._prefixes) > PREFIXES_MAX:
            self._prefixes.popitem(last=False)
        return prefix

    async def _answer(self, call: str, request: Request, running: _Call) -> None:
        """Have the agent answer, and end the call with one message, however that ends."""
        try:
            message = self._generated(call, await self._agent.propose(request), request.width)
        except asyncio.CancelledError:
            if running.cancelled:
                usage = self._spent(call)
                message = agent_pb2.AgentServiceAttachRequest(
                    cancelled=agent_pb2.Cancelled(call=call, usage=usage)
                )
            else:
                message = self._failed(call, TransientError("something in it was cancelled"))
        except AgentError as error:
            message = self._failed(call, error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the daemon is told
            _LOG.exception("the %s agent %s failed", self.role, self.agent_id)
            message = self._failed(call, AgentError(f"{type(error).__name__}: {error}"))
        self._calls.pop(call, None)
        self._answers[call] = message
        while len(self._answers) > ANSWERS_KEPT_MAX:
            self._answers.popitem(last=False)
        self._send(message)

    def _generated(
        self, call: str, proposal: Proposal, width: int
    ) -> agent_pb2.AgentServiceAttachRequest:
        given = candidates(proposal)
        generated = agent_pb2.Generated(
            call=call,
            candidates=[
                agent_pb2.Candidate(
                    action=to_wire(each.action), confidence=each.confidence, note=each.note
                )
                for each in given[:width]
            ],
            usage=usage_to_wire(sum((each.usage for each in given), Usage())),
        )
        return agent_pb2.AgentServiceAttachRequest(generated=generated)

    def _failed(self, call: str, error: AgentError) -> agent_pb2.AgentServiceAttachRequest:
        failed = agent_pb2.Failed(
            call=call,
            kind=agent_pb2.FAILURE_KIND_PERMANENT,
            # What no text can have, such as half of a surrogate pair, can not be sent.
            reason=(str(error) or type(error).__name__).encode("utf-8", "replace").decode(),
            usage=self._spent(call),
        )
        match error:
            case RateLimitedError(retry_after=retry_after):
                failed.kind = agent_pb2.FAILURE_KIND_RATE_LIMITED
                failed.retry_after_ms = max(0, round(1_000 * retry_after))
            case TransientError():
                failed.kind = agent_pb2.FAILURE_KIND_TRANSIENT
        return agent_pb2.AgentServiceAttachRequest(failed=failed)

    def _fail(self, call: str, reason: str) -> None:
        self._send(self._failed(call, AgentError(reason)))

    def _spent(self, call: str) -> common_pb2.Usage:
        running = self._calls.get(call)
        return common_pb2.Usage(output_tokens=running.output_tokens if running else 0)

    def _cancel(self, call: str) -> None:
        running = self._calls.get(call)
        if running is not None:
            running.cancel()
        elif call not in self._answers:
            cancelled = agent_pb2.Cancelled(call=call)
            self._send(agent_pb2.AgentServiceAttachRequest(cancelled=cancelled))

    def _progress(self, call: str, output_tokens: int) -> None:
        running = self._calls.get(call)
        if running is None:
            return
        running.output_tokens = output_tokens = min(max(0, output_tokens), TOKENS_MAX)
        if time.monotonic() - running.reported >= running.report_every:
            running.reported = time.monotonic()
            progress = agent_pb2.Progress(call=call, output_tokens=output_tokens)
            self._send(agent_pb2.AgentServiceAttachRequest(progress=progress))

    def _send(self, message: agent_pb2.AgentServiceAttachRequest) -> None:
        # Before the welcome nothing is said; answers are kept, and said after it.
        if self._taken:
            self._outgoing.put_nowait(message)


async def _drain(
    outgoing: asyncio.Queue[agent_pb2.AgentServiceAttachRequest | None],
) -> AsyncIterator[agent_pb2.AgentServiceAttachRequest]:
    while (message := await outgoing.get()) is not None:
        yield message


def _append(base: _Prefix, entries: Iterable[common_pb2.PrefixEntry]) -> _Prefix:
    """Return the base with entries after it. Raises `InvalidMessageError`."""
    said = list(base.entries)
    action: Action | None = None
    for entry in entries:
        match entry.WhichOneof("entry"):
            case "task":
                base = replace(base, task=entry.task)
            case "instructions":
                base = replace(base, instructions=entry.instructions)
            case "action":
                action = read(Action, entry.action)
            case "observation" if action is not None:
                said.append(Step(action, read(Observation, entry.observation)))
                action = None
            case "suggestion":
                said.append(Suggestion(entry.suggestion))
            case _:
                message = "the daemon sent a prefix with an entry that can not be read"
                raise InvalidMessageError(message)
    return replace(base, entries=tuple(said))


def to_wire(action: Action) -> common_pb2.Action:
    """Return an action as it is sent. Raises `ArgumentError`."""
    try:
        return common_pb2.Action(tool=action.tool, arguments=action.to_json())
    except UnicodeEncodeError as error:
        message = f"the tool's name can not be sent: {error}"
        raise ArgumentError(message) from error


def usage_to_wire(usage: Usage) -> common_pb2.Usage:
    """Return what an answer cost as it is sent."""
    return common_pb2.Usage(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        cost_micros=usage.cost_micros,
    )
