"""The same for programs that are not asynchronous.

    with forerun.sync.connect() as daemon, daemon.session("./site") as session:
        print(session.act(forerun.Action("read_file", {"path": "index.html"})).observation.text)

One thread runs the asynchronous SDK; every call here waits for it. Calls may come from any
thread, several at once.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from forerun import daemon as asynchronous
from forerun.agents import Agent, FunctionAgent
from forerun.values import View

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from types import TracebackType

    from forerun._attach import Attachment
    from forerun.agents import Proposal, Request
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


class _Loop:
    """A thread that runs coroutines for others."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="forerun", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine; one that is given up, by Ctrl+C for instance, is cancelled."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


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
        loop.stop()
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
        self._loop.run(self._daemon.close())
        self._loop.stop()

    def session(
        self,
        workspace: str | os.PathLike[str],
        *,
        approximation: Agent | Callable[[Request], Proposal] | None = None,
        target: Agent | Callable[[Request], Proposal] | None = None,
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
        agent: Agent | Callable[[Request], Proposal],
        **options: Any,  # noqa: ANN401
    ) -> Attachment:
        """Attach an agent, which may be a plain function: each call of one runs in a thread."""
        return self._loop.run(self._session.attach(role, _in_a_thread(agent), **options))

    def act(
        self, action: Action, *, key: str | None = None, owner_wait: float | None = None
    ) -> Act:
        """Do an action as the session's next step."""
        return self._loop.run(self._session.act(action, key=key, owner_wait=owner_wait))

    def act_result(self, key: str, *, owner_wait: float | None = None) -> Act:
        """Return what became of an earlier act."""
        return self._loop.run(self._session.act_result(key, owner_wait=owner_wait))

    def steps(self) -> Iterator[Event]:
        """Give the orderly stream for people."""
        return self.watch()

    def watch(
        self, view: View = View.PRESENTED, *, after: int = 0, follow: bool = True
    ) -> Iterator[Event]:
        """Give the events after a position."""
        events = self._session.watch(view, after=after, follow=follow)
        try:
            while True:
                event = self._loop.run(_next(events))
                if event is None:
                    return
                yield event
        finally:
            self._loop.run(events.aclose())

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

    def approve(self, approval: str, *, for_session: bool = False) -> int:
        """Allow what policy put to the owner."""
        return self._loop.run(self._session.approve(approval, for_session=for_session))

    def refuse(self, approval: str, reason: str = "") -> int:
        """Refuse what policy put to the owner."""
        return self._loop.run(self._session.refuse(approval, reason))

    def suggest(self, text: str) -> int:
        """Say something to the agents."""
        return self._loop.run(self._session.suggest(text))

    def backtrack(self, step: int, anew: Action | str, *, seen: str | None = None) -> int:
        """Go back to a step."""
        return self._loop.run(self._session.backtrack(step, anew, seen=seen))

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


def _in_a_thread(agent: Agent | Callable[[Request], Proposal]) -> Agent:
    """Return an agent that does not hold the loop up."""
    if isinstance(agent, Agent):
        return agent
    function = agent

    async def propose(request: Request) -> Proposal:
        return await asyncio.to_thread(function, request)

    return FunctionAgent(propose)
