"""One session: watched, interrupted, acted through, finished."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from forerun import events
from forerun._attach import Attachment, attach, to_wire
from forerun._read import read, snake
from forerun._wire import action_pb2, event_pb2, session_pb2
from forerun.agents import as_agent
from forerun.errors import (
    ArgumentError,
    ForerunError,
    InvalidMessageError,
    StalledError,
    UnreachableError,
    is_passing,
)
from forerun.values import (
    Act,
    Action,
    AllowFor,
    Done,
    FileDiff,
    Finish,
    Finished,
    Pending,
    Role,
    SessionInfo,
    SessionState,
    Undone,
    View,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import TracebackType

    from forerun._offer import Offer
    from forerun._rpc import Connection
    from forerun.agents import Agent, AgentFunction
    from forerun.events import Event

WATCH_HEARTBEAT = 10.0
"""Seconds after which a watcher is told that there is nothing new; silence for three times as
long is a broken stream."""
DURATION_MAX = 1e9
"""Longest wait that is asked for, in seconds: for ever."""
STEPS_MAX = 1 << 32
"""One more than the last step that can be said."""
RESUME_FOR = 30.0
"""Seconds for which a broken stream is taken up again without success until its error is given."""
_WAIT_MIN, _WAIT_MAX = 0.02, 2.0
"""Pauses before a stream is taken up again, in seconds; each is twice the one before."""

_EVENTS = {snake(cls.__name__): cls for cls in events.Event.__subclasses__()}
_VIEWS = {View.PRESENTED: event_pb2.VIEW_PRESENTED, View.TRACE: event_pb2.VIEW_TRACE}
_FINISHES = {
    Finish.COMMIT: session_pb2.FINISH_OUTCOME_COMMIT,
    Finish.DISCARD: session_pb2.FINISH_OUTCOME_DISCARD,
    Finish.KEEP: session_pb2.FINISH_OUTCOME_KEEP,
}
_ALLOW_FOR = {
    AllowFor.ONCE: session_pb2.ALLOW_FOR_ONCE,
    AllowFor.SESSION: session_pb2.ALLOW_FOR_SESSION,
    AllowFor.ALWAYS: session_pb2.ALLOW_FOR_ALWAYS,
}

_Interrupt = session_pb2.SessionServiceInterruptRequest


@dataclass(frozen=True, slots=True)
class Tokens:
    """What its bearer may do. Not printed."""

    owner: str = field(repr=False)
    """Everything that changes the session."""
    approximation: str = field(repr=False)
    """Attaching as approximation agent, and watching."""
    target: str = field(repr=False)
    """Attaching as target agent, acting, and watching."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What `Session.stop(undo=True)` did."""

    undone: tuple[Undone, ...] = ()
    """What became of each commit, newest first."""
    refused: str | None = None
    """Why those before the last of these are still in the workspace, if they are."""


class Acting(Protocol):
    """Where an agent's own loop acts: a `Session`, or `testing.FakeSession`."""

    async def act(
        self, action: Action, *, key: str | None = None, owner_wait: float | None = None
    ) -> Act:
        """Do an action as the session's next step."""
        ...

    async def act_result(self, key: str, *, owner_wait: float | None = None) -> Act:
        """Return what became of an earlier act."""
        ...

    async def predict(
        self, *candidates: Action, after: str | None = None, ttl: float | None = None
    ) -> None:
        """Say what is likely to be done next."""
        ...


class Session:
    """One session. As a context manager it is closed at the end; what is verified is kept.

    Otherwise it goes on in the daemon until its plan ends or `close` is called.
    """

    def __init__(
        self, connection: Connection, session: str, tokens: Tokens, offer: Offer | None = None
    ) -> None:
        """Made by `Forerun.session` and `Forerun.existing`."""
        self.id = session
        """The session's id."""
        self.tokens = tokens
        """The session's tokens; all the same if it was found with one."""
        self._connection = connection
        self._attached: list[Attachment] = []
        self._offer = offer

    def __repr__(self) -> str:
        """Its id."""
        return f"Session({self.id!r})"

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and take the agents away that were attached here."""
        try:
            await self.close()
        except ForerunError:
            # The error that ends the block is the one to be told.
            if error is None:
                raise
        finally:
            for attachment in self._attached:
                await attachment.detach()
            if self._offer is not None:
                await self._offer.close()

    # Agents

    async def attach(
        self,
        role: Role,
        agent: Agent | AgentFunction,
        *,
        agent_id: str | None = None,
        model: str | None = None,
        capacity: int | None = None,
    ) -> Attachment:
        """Attach an agent: an object with `propose`, or a coroutine function.

        It answers until the session needs it no more, and attaches again by itself when the
        connection breaks. One that is started again with the same `agent_id` takes up its
        calls. Raises `ForerunError` if the daemon refuses it.
        """
        attachment = await attach(
            self._connection,
            self.id,
            self._token(role),
            role,
            as_agent(agent),
            agent_id=agent_id,
            model=model,
            capacity=capacity,
        )
        self._attached.append(attachment)
        return attachment

    # The caller's own loop

    async def act(
        self, action: Action, *, key: str | None = None, owner_wait: float | None = None
    ) -> Act:
        """Do an action as the session's next step, and wait until that is verified.

        With `CommitMode.STEP` it is committed then, too. Actions are done in the order in
        which they come. The first takes the target's role; what an approximation agent has
        executed already is not executed again. The same `key` with the same action is done
        once and answered the same. If the step waits for the session's owner for
        `owner_wait` seconds (by default 20), the outcome is `Pending`. What goes wrong in the
        tool is the observation. Raises `ForerunError` if the session is over or has a target
        agent, its owner took the plan elsewhere, or its commit was refused or met what somebody
        changed (`ACT_NOT_DONE`: nothing of it is in the workspace, and the session goes on).
        """
        key = secrets.token_hex(16) if key is None else key
        answer = await self._connection.call(
            "ActionService/Act",
            action_pb2.ActionServiceActRequest(
                session=self.id, action=to_wire(action), key=key, wait_ms=millis(owner_wait)
            ),
            action_pb2.ActionServiceActResponse,
            self.tokens.target,
            timeout=None,
        )
        return _act(key, answer.outcome)

    async def act_result(self, key: str, *, owner_wait: float | None = None) -> Act:
        """Return what became of an earlier act, waiting for it as `act` does."""
        answer = await self._connection.call(
            "ActionService/ActResult",
            action_pb2.ActionServiceActResultRequest(
                session=self.id, key=key, wait_ms=millis(owner_wait)
            ),
            action_pb2.ActionServiceActResultResponse,
            self.tokens.target,
            timeout=None,
        )
        return _act(key, answer.outcome)

    async def predict(
        self, *candidates: Action, after: str | None = None, ttl: float | None = None
    ) -> None:
        """Say what is likely to be done next, best first: it is executed ahead, side by side.

        As far as the session's width and policy allow. An act that is one of them finds it done,
        or under way; any other drops them. `after` is the key of the act that they come after,
        which may still be open; without it they come after all that are. They wait for their
        turn for `ttl` seconds at most (by default 60). Raises `ForerunError` if a candidate can
        not be executed, there are none or more than 8, or `after` is not known.
        """
        await self._connection.call(
            "ActionService/Predict",
            action_pb2.ActionServicePredictRequest(
                session=self.id,
                candidates=[to_wire(candidate) for candidate in candidates],
                after=after,
                ttl_ms=millis(ttl),
            ),
            action_pb2.ActionServicePredictResponse,
            self.tokens.target,
        )

    # Watching

    def steps(self) -> AsyncGenerator[Event, None]:
        """Give the orderly stream for people, from the start until nothing more can happen.

        With `CommitMode.SESSION` that is when `finish` was called, after `events.Ended`. A
        session that waits for its owner (`events.Stalled`, `Question`, `ApprovalRequested`)
        goes on when they have answered.
        """
        return self.watch()

    async def wait(self) -> SessionInfo:
        """Wait until the plan has ended, and return what it came to.

        Raises `StalledError` if the session waits for its owner instead.
        """
        async for event in self.watch():
            match event:
                case events.Ended() | events.Finished() | events.Interrupted():
                    break
                case events.Stalled(step=step, reason=reason, hint=hint):
                    # It may have gone on since: what is read may be history.
                    if (await self.info()).state is SessionState.STALLED:
                        stalled = StalledError(f"step {step} waits for the owner: {reason}")
                        stalled.hint = hint
                        raise stalled
        return await self.info()

    async def watch(
        self, view: View = View.PRESENTED, *, after: int = 0, follow: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Give the events after a position, once each, however often the connection breaks.

        Without `follow` they end after those that there are. Kinds that this version does not
        know are left out. Raises `ForerunError`.
        """
        failing: float | None = None
        wait = _WAIT_MIN
        if after < 0:
            problem = f"events are counted from 1, and none comes after {after}"
            raise ArgumentError(problem)
        while True:
            request = session_pb2.SessionServiceWatchRequest(
                session=self.id, after_sequence=after, view=_VIEWS[view], follow=follow
            )
            stream = self._connection.watch(
                "SessionService/Watch",
                request,
                session_pb2.SessionServiceWatchResponse,
                self.tokens.target,
            )
            try:
                async with aclosing(stream):
                    while True:
                        message = await asyncio.wait_for(anext(stream), 3 * WATCH_HEARTBEAT)
                        failing, wait = None, _WAIT_MIN
                        after = max(after, message.event.sequence, message.heartbeat.sequence)
                        event = _event(message.event)
                        if event is not None:
                            yield event
                        if follow and isinstance(event, events.Finished | events.Interrupted):
                            return
            except StopAsyncIteration:
                return
            except TimeoutError:
                broken: ForerunError = UnreachableError("the stream of events went silent")
            except ForerunError as error:
                broken = error
            failing = failing or time.monotonic()
            if not is_passing(broken) or time.monotonic() - failing > RESUME_FOR:
                raise broken
            await asyncio.sleep(wait)
            wait = min(2 * wait, _WAIT_MAX)

    async def info(self) -> SessionInfo:
        """Return what the session is and does."""
        answer = await self._connection.call(
            "SessionService/Get",
            session_pb2.SessionServiceGetRequest(session=self.id),
            session_pb2.SessionServiceGetResponse,
            self.tokens.target,
        )
        return read(SessionInfo, answer.session)

    async def diff(self) -> tuple[FileDiff, ...]:
        """Return what differs from the workspace as the session found it."""
        answer = await self._connection.call(
            "SessionService/Diff",
            session_pb2.SessionServiceDiffRequest(session=self.id),
            session_pb2.SessionServiceDiffResponse,
            self.tokens.target,
        )
        return tuple(read(FileDiff, each) for each in answer.files)

    # Ending

    async def finish(self, outcome: Finish, paths: Sequence[str] = ()) -> Finished:
        """With `CommitMode.SESSION`: commit, discard or keep the changes, of `paths` if given."""
        answer = await self._connection.call(
            "SessionService/Finish",
            session_pb2.SessionServiceFinishRequest(
                session=self.id,
                outcome=_FINISHES[outcome],
                paths=paths,
                idempotency_key=secrets.token_hex(16),
            ),
            session_pb2.SessionServiceFinishResponse,
            self.tokens.owner,
            timeout=None,
        )
        return read(Finished, answer)

    async def undo(
        self, from_step: int | None = None, *, force: bool = False
    ) -> tuple[Undone, ...]:
        """Take committed steps of an ended session back, newest first: from a step on, or all.

        What somebody changed since is left alone and named, unless `force`.
        """
        return await self._undo(from_step, force=force, redo=False)

    async def redo(
        self, from_step: int | None = None, *, force: bool = False
    ) -> tuple[Undone, ...]:
        """Bring undone steps back, oldest first: from a step on, or all."""
        return await self._undo(from_step, force=force, redo=True)

    async def _undo(self, from_step: int | None, *, force: bool, redo: bool) -> tuple[Undone, ...]:
        answer = await self._connection.call(
            "SessionService/Undo",
            session_pb2.SessionServiceUndoRequest(
                session=self.id,
                from_step=None if from_step is None else _step(from_step),
                force=force,
                redo=redo,
                idempotency_key=secrets.token_hex(16),
            ),
            session_pb2.SessionServiceUndoResponse,
            self.tokens.owner,
            timeout=None,
        )
        return tuple(read(Undone, each) for each in answer.undone)

    async def close(self) -> SessionInfo:
        """End the session and free what it holds. Verified steps are kept."""
        answer = await self._connection.call(
            "SessionService/Close",
            session_pb2.SessionServiceCloseRequest(
                session=self.id, idempotency_key=secrets.token_hex(16)
            ),
            session_pb2.SessionServiceCloseResponse,
            self.tokens.owner,
        )
        return read(SessionInfo, answer.session)

    # Interrupts: each returns the last event of the log when it had taken effect.

    async def claim(self, step: int, *, seen: str | None = None, ttl: float | None = None) -> int:
        """Say that a person is deciding the step: the target's answer is no verdict meanwhile.

        Until the claim is used, given back, or `ttl` seconds have passed (by default 60).
        `seen` is the prefix or node that the person saw; the claim is refused if it changed.
        """
        claim = _Interrupt.Claim(step=_step(step), seen=_seen(seen), ttl_ms=millis(ttl))
        return await self._interrupt(_Interrupt(claim=claim))

    async def unclaim(self, step: int) -> int:
        """Give a claim back."""
        return await self._interrupt(_Interrupt(unclaim=_Interrupt.Unclaim(step=_step(step))))

    async def replace(self, step: int, action: Action, *, seen: str | None = None) -> int:
        """Decide the step; with `seen`, only if it still is that prefix or node."""
        replace = _Interrupt.Replace(step=_step(step), seen=_seen(seen), action=to_wire(action))
        return await self._interrupt(_Interrupt(replace=replace))

    async def accept(self, step: int, *, node: str | None = None) -> int:
        """Decide the step as it was proposed; `node` is the proposal that was seen."""
        return await self._interrupt(
            _Interrupt(accept=_Interrupt.Accept(step=_step(step), node=node))
        )

    async def answer(self, step: int, text: str) -> int:
        """Answer the question that an `ask_user` asks."""
        return await self._interrupt(
            _Interrupt(answer=_Interrupt.AnswerQuestion(step=_step(step), text=text))
        )

    async def approve(self, approval: str, *, allow_for: AllowFor = AllowFor.ONCE) -> int:
        """Allow what policy put to the owner, for longer than this once if it shall be."""
        approve = _Interrupt.Approve(approval=approval, allow_for=_ALLOW_FOR[allow_for])
        return await self._interrupt(_Interrupt(approve=approve))

    async def refuse(self, approval: str, reason: str = "") -> int:
        """Refuse what policy put to the owner; the agents are told the reason."""
        refuse = _Interrupt.Refuse(approval=approval, reason=reason)
        return await self._interrupt(_Interrupt(refuse=refuse))

    async def suggest(self, text: str) -> int:
        """Say something to the agents: they are asked again with it, from the next step on."""
        return await self._interrupt(_Interrupt(suggest=_Interrupt.Suggest(text=text)))

    async def backtrack(
        self,
        step: int,
        anew: Action | str,
        *,
        seen: str | None = None,
        keep_effects: bool = False,
    ) -> int:
        """Go back to a step: it and all after it are undone, and it is decided anew.

        By an action, or by the agents, who see a suggestion. The event `Backtracked` says when
        it is done. If something was sent since that can not be taken back, `keep_effects` says
        that it is to stay.
        """
        backtrack = _Interrupt.Backtrack(
            step=_step(step), seen=_seen(seen), keep_effects=keep_effects
        )
        if isinstance(anew, Action):
            backtrack.action.CopyFrom(to_wire(anew))
        else:
            backtrack.suggestion = anew
        return await self._interrupt(_Interrupt(backtrack=backtrack))

    async def retry(self) -> int:
        """Let a stalled session ask again."""
        return await self._interrupt(_Interrupt(retry=_Interrupt.Retry()))

    async def pause(self) -> int:
        """Launch, decide and commit nothing until `resume`."""
        return await self._interrupt(_Interrupt(pause=_Interrupt.Pause()))

    async def resume(self) -> int:
        """Go on after `pause`."""
        return await self._interrupt(_Interrupt(resume=_Interrupt.Resume()))

    async def stop(self, *, undo: bool = False) -> TakenBack:
        """End the plan. Verified steps are kept, or taken back, newest first, with `undo`.

        What somebody changed since is left alone and named.
        """
        after = await self._interrupt(_Interrupt(stop=_Interrupt.Stop(undo=undo)))
        if not undo:
            return TakenBack()
        undone: list[Undone] = []
        refused: str | None = None
        async for event in self.watch(after=after):
            match event:
                case events.Undone():
                    undone.append(
                        Undone(
                            step=event.step,
                            undoes=event.undoes,
                            redo=event.redo,
                            commit=event.commit,
                            changed=event.changed,
                            left=event.left,
                        )
                    )
                case events.Refused(reason=reason):
                    refused = reason
        return TakenBack(tuple(undone), refused)

    async def _interrupt(self, request: _Interrupt) -> int:
        request.session = self.id
        request.idempotency_key = secrets.token_hex(16)
        answer = await self._connection.call(
            "SessionService/Interrupt",
            request,
            session_pb2.SessionServiceInterruptResponse,
            self.tokens.owner,
        )
        return answer.sequence

    def _token(self, role: Role) -> str:
        return self.tokens.target if role is Role.TARGET else self.tokens.approximation


def _act(key: str, outcome: action_pb2.ActOutcome) -> Act:
    match outcome.WhichOneof("outcome"):
        case "done":
            said: Done | Pending = read(Done, outcome.done)
        case "pending":
            said = read(Pending, outcome.pending)
        case _:
            message = "the daemon sent an invalid act: outcome is not set"
            raise InvalidMessageError(message)
    return Act(key, said, tuple(outcome.notices))


def _event(event: event_pb2.Event) -> Event | None:
    """Return an event; `None` for a kind that is of a later version, or no event."""
    kind = event.WhichOneof("kind")
    cls = _EVENTS.get(kind or "")
    if kind is None or cls is None:
        return None
    return read(cls, getattr(event, kind), sequence=event.sequence, at=event.at_us / 1_000_000)


def _seen(seen: str | None) -> session_pb2.Seen | None:
    """Tell what the user saw: a node is `node_…`, a prefix a digest."""
    if seen is None:
        return None
    if seen.startswith("node_"):
        return session_pb2.Seen(node=seen)
    return session_pb2.Seen(prefix=seen)


def millis(duration: float | None) -> int:
    """Return whole milliseconds; 0, which is the daemon's default, for `None`."""
    if duration is None:
        return 0
    if not duration >= 0:
        message = f"a duration is not negative, unlike {duration}"
        raise ArgumentError(message)
    # 0 would be the default.
    return max(1, round(1_000 * min(duration, DURATION_MAX)))


def _step(step: int) -> int:
    """Return a step as it is sent. Raises `ArgumentError`."""
    if not 0 <= step < STEPS_MAX:
        message = f"steps are counted from 0, and {step} is none"
        raise ArgumentError(message)
    return step
