"""The same for programs that are not asynchronous.

    with forerun.sync.connect() as daemon, daemon.session("./site") as session:
        print(session.act(forerun.Action("read_file", {"path": "index.html"})).observation.text)

One thread runs the asynchronous SDK; every call here waits for it. Calls may come from any
thread, several at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar, cast

from forerun import daemon as asynchronous
from forerun._threads import in_thread
from forerun.agents import CAPACITY, Agent, FunctionAgent, as_agent
from forerun.errors import ClosedError
from forerun.values import AllowFor, View

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Generator, Sequence
    from types import TracebackType

    from forerun._attach import Attachment as AsyncAttachment
    from forerun.agents import AgentFunction, Proposal, Request
    from forerun.events import Event
    from forerun.session import Session as AsyncSession
    from forerun.session import TakenBack, Tokens
    from forerun.values import (
        Act,
        Action,
        DaemonStatus,
        FileDiff,
        Finish,
        Finished,
        Role,
        SessionInfo,
        Tool,
        Undone,
    )

Result = TypeVar("Result")


class PlainAgent(Protocol):
    """An agent whose `propose` is a plain function; each call of it runs in a thread."""

    def propose(self, request: Request, /) -> Proposal:
        """Answer with the next step."""
        ...


AnyAgent: TypeAlias = "Agent | AgentFunction | PlainAgent | Callable[[Request], Proposal]"
"""What can be an agent here."""

GIVE_UP_TIMEOUT = 5.0
"""Seconds for which a call that is given up is waited for."""


class _Loop:
    """A thread that runs coroutines for others."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="forerun", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def is_here(self) -> bool:
        """Whether this is the thread that runs coroutines, which can not wait for one."""
        return threading.current_thread() is self._thread

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine. One that is given up, by Ctrl+C for instance, has ended then."""
        if self._closed or self.is_here():
            coroutine.close()
            if self._closed:
                raise ClosedError("the connection was closed")  # noqa: EM101, TRY003
            message = "an agent that is a coroutine waits with await: use the asynchronous SDK"
            raise RuntimeError(message)
        ended = threading.Event()

        async def to_the_end() -> Result:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(to_the_end(), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClosedError("the connection was closed") from None  # noqa: EM101, TRY003
        except BaseException:
            if future.cancel():
                ended.wait(GIVE_UP_TIMEOUT)
            raise

    def stop(self, last: Coroutine[Any, Any, None]) -> None:
        """Run the last coroutine, end what is under way, and then the thread. Once."""
        if self._closed:
            last.close()
            return
        try:
            self.run(last)
        finally:
            self._closed = True
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)
            self._thread.join()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        self._loop.call_soon(self._loop.stop)


async def _nothing() -> None:
    """Do nothing."""


def connect(
    endpoint: str | None = None,
    *,
    state_dir: str | os.PathLike[str] | None = None,
    program: str | os.PathLike[str] | None = None,
    spawn: bool = True,
) -> Forerun:
    """Connect to the daemon as `forerun.connect` does."""
    loop = _Loop()
    opening = asynchronous.connect(endpoint, state_dir=state_dir, program=program, spawn=spawn)
    try:
        return Forerun(loop, loop.run(opening.open()))
    except BaseException:
        loop.stop(_nothing())
        raise


class Forerun:
    """A connected daemon; see `forerun.Forerun`."""

    def __init__(self, loop: _Loop, daemon: asynchronous.Forerun) -> None:
        """Made by `connect`."""
        self._loop = loop
        self._daemon = daemon

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection. The daemon and its sessions go on."""
        self.close()

    def close(self) -> None:
        """Close the connection. The daemon and its sessions go on."""
        self._loop.stop(self._daemon.close())

    def session(
        self,
        workspace: str | os.PathLike[str],
        *,
        approximation: AnyAgent | None = None,
        target: AnyAgent | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Session:
        """Open a session; `options` are those of `forerun.Forerun.session`.

        Agents may be plain functions; each call of one runs in a thread.
        """
        opening = self._daemon.session(
            workspace,
            approximation=None if approximation is None else _in_a_thread(approximation),
            target=None if target is None else _in_a_thread(target),
            **options,
        )
        return Session(self._loop, self._loop.run(opening.open()))

    def existing(self, session: str, token: str | None = None) -> Session:
        """Return a session that exists; see `forerun.Forerun.existing`."""
        return Session(self._loop, self._daemon.existing(session, token))

    def sessions(self, limit: int | None = None) -> tuple[SessionInfo, ...]:
        """Return all sessions of this user, newest first."""
        return self._loop.run(self._daemon.sessions(limit))

    def tools(self) -> tuple[Tool, ...]:
        """Return the tools that a session that is opened now would have."""
        return self._loop.run(self._daemon.tools())

    def status(self) -> DaemonStatus:
        """Return what runs, and where."""
        return self._loop.run(self._daemon.status())

    def shutdown(self) -> None:
        """Ask the daemon to stop."""
        self._loop.run(self._daemon.shutdown())


class Session:
    """One session; see `forerun.Session`, whose methods these are."""

    def __init__(self, loop: _Loop, session: AsyncSession) -> None:
        """Made by `Forerun.session` and `Forerun.existing`."""
        self._loop = loop
        self._session = session

    def __repr__(self) -> str:
        """Its id."""
        return repr(self._session)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; verified steps are kept."""
        self._loop.run(self._session.__aexit__(kind, error, traceback))

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session.id

    @property
    def tokens(self) -> Tokens:
        """The session's tokens."""
        return self._session.tokens

    def attach(
        self,
        role: Role,
        agent: AnyAgent,
        **options: Any,  # noqa: ANN401
    ) -> Attachment:
        """Attach an agent, which may be a plain function: each call of one runs in a thread."""
        attached = self._loop.run(self._session.attach(role, _in_a_thread(agent), **options))
        return Attachment(self._loop, attached)

    def act(
        self, action: Action, *, key: str | None = None, owner_wait: float | None = None
    ) -> Act:
        """Do an action as the session's next step."""
        return self._loop.run(self._session.act(action, key=key, owner_wait=owner_wait))

    def act_result(self, key: str, *, owner_wait: float | None = None) -> Act:
        """Return what became of an earlier act."""
        return self._loop.run(self._session.act_result(key, owner_wait=owner_wait))

    def predict(
        self, *candidates: Action, after: str | None = None, ttl: float | None = None
    ) -> None:
        """Say what is likely to be done next, best first: it is executed ahead."""
        self._loop.run(self._session.predict(*candidates, after=after, ttl=ttl))

    def steps(self) -> Generator[Event, None, None]:
        """Give the orderly stream for people."""
        return self.watch()

    def watch(
        self, view: View = View.PRESENTED, *, after: int = 0, follow: bool = True
    ) -> Generator[Event, None, None]:
        """Give the events after a position."""
        events = self._session.watch(view, after=after, follow=follow)
        try:
            while True:
                event = self._loop.run(_next(events))
                if event is None:
                    return
                yield event
        finally:
            # Collected in the loop's own thread, or after it, it is closed with the loop.
            if not self._loop.is_here():
                with suppress(ClosedError):
                    self._loop.run(events.aclose())

    def wait(self) -> SessionInfo:
        """Wait until the plan has ended; see `forerun.Session.wait`."""
        return self._loop.run(self._session.wait())

    def info(self) -> SessionInfo:
        """Return what the session is and does."""
        return self._loop.run(self._session.info())

    def diff(self) -> tuple[FileDiff, ...]:
        """Return what differs from the workspace as the session found it."""
        return self._loop.run(self._session.diff())

    def finish(self, outcome: Finish, paths: Sequence[str] = ()) -> Finished:
        """Commit, discard or keep the changes."""
        return self._loop.run(self._session.finish(outcome, paths))

    def undo(self, from_step: int | None = None, *, force: bool = False) -> tuple[Undone, ...]:
        """Take committed steps of an ended session back."""
        return self._loop.run(self._session.undo(from_step, force=force))

    def redo(self, from_step: int | None = None, *, force: bool = False) -> tuple[Undone, ...]:
        """Bring undone steps back."""
        return self._loop.run(self._session.redo(from_step, force=force))

    def close(self) -> SessionInfo:
        """End the session. Verified steps are kept."""
        return self._loop.run(self._session.close())

    def claim(self, step: int, *, seen: str | None = None, ttl: float | None = None) -> int:
        """Say that a person is deciding the step."""
        return self._loop.run(self._session.claim(step, seen=seen, ttl=ttl))

    def unclaim(self, step: int) -> int:
        """Give a claim back."""
        return self._loop.run(self._session.unclaim(step))

    def replace(self, step: int, action: Action, *, seen: str | None = None) -> int:
        """Decide the step."""
        return self._loop.run(self._session.replace(step, action, seen=seen))

    def accept(self, step: int, *, node: str | None = None) -> int:
        """Decide the step as it was proposed."""
        return self._loop.run(self._session.accept(step, node=node))

    def answer(self, step: int, text: str) -> int:
        """Answer the question that an `ask_user` asks."""
        return self._loop.run(self._session.answer(step, text))

    def approve(self, approval: str, *, allow_for: AllowFor = AllowFor.ONCE) -> int:
        """Allow what policy put to the owner."""
        return self._loop.run(self._session.approve(approval, allow_for=allow_for))

    def refuse(self, approval: str, reason: str = "") -> int:
        """Refuse what policy put to the owner."""
        return self._loop.run(self._session.refuse(approval, reason))

    def suggest(self, text: str) -> int:
        """Say something to the agents."""
        return self._loop.run(self._session.suggest(text))

    def backtrack(
        self,
        step: int,
        anew: Action | str,
        *,
        seen: str | None = None,
        keep_effects: bool = False,
    ) -> int:
        """Go back to a step."""
        return self._loop.run(
            self._session.backtrack(step, anew, seen=seen, keep_effects=keep_effects)
        )

    def retry(self) -> int:
        """Let a stalled session ask again."""
        return self._loop.run(self._session.retry())

    def pause(self) -> int:
        """Launch, decide and commit nothing until `resume`."""
        return self._loop.run(self._session.pause())

    def resume(self) -> int:
        """Go on after `pause`."""
        return self._loop.run(self._session.resume())

    def stop(self, *, undo: bool = False) -> TakenBack:
        """End the plan; with `undo`, take its verified steps back."""
        return self._loop.run(self._session.stop(undo=undo))


async def _next(events: Any) -> Event | None:  # noqa: ANN401
    event: Event | None = await anext(events, None)
    return event


def _in_a_thread(agent: AnyAgent) -> Agent:
    """Return an agent that does not hold the loop up."""
    propose = getattr(agent, "propose", agent)
    if isinstance(agent, type) or not callable(propose) or _is_coroutine(propose):
        return as_agent(agent)  # type: ignore[arg-type]

    plain = cast("Callable[[Request], Proposal]", propose)

    async def in_a_thread(request: Request) -> Proposal:
        return await in_thread(plain, request)

    model, capacity = getattr(agent, "model", ""), getattr(agent, "capacity", CAPACITY)
    return FunctionAgent(in_a_thread, str(model), capacity)


def _is_coroutine(function: object) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


class Attachment:
    """An attached agent; see `forerun.Attachment`."""

    def __init__(self, loop: _Loop, attachment: AsyncAttachment) -> None:
        """Made by `Session.attach`."""
        self._loop = loop
        self._attachment = attachment

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self._attachment.agent_id

    @property
    def role(self) -> Role:
        """What it does."""
        return self._attachment.role

    @property
    def is_over(self) -> bool:
        """Whether it answers no more."""
        return self._attachment.is_over

    def ended(self) -> str:
        """Wait until the session needs it no more, and return why."""
        return self._loop.run(self._attachment.ended())

    def detach(self) -> None:
        """Take the agent away."""
        self._loop.run(self._attachment.detach())
