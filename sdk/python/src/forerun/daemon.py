"""The daemon, connected: opens sessions, finds those that exist."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from forerun._endpoint import Locations, find_program, listens, start
from forerun._offer import Offer
from forerun._read import read
from forerun._rpc import Connection
from forerun._wire import daemon_pb2, session_pb2, tool_pb2
from forerun.errors import ArgumentError, ForerunError, NotRunningError, is_passing
from forerun.session import Session, Tokens, millis
from forerun.tools import as_tool
from forerun.values import CommitMode, DaemonStatus, DepthControl, Role, SessionInfo, Tool, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from types import TracebackType

    from forerun.agents import Agent, AgentFunction
    from forerun.tools import ClientTool, ToolFunction

START_TIMEOUT = 60.0
"""Seconds that a daemon may take until it serves: its first start compiles the tools."""
_POLL = 0.05
OWNER_KEY_FILE = "owner.key"
"""Name of the owner key's file in the daemon's state directory."""
OWNER_KEY_BYTES_MAX = 1_024
"""Most bytes of a key that make sense; stops a wrong file from being sent as one."""

_WINDOWS = {
    Window.SLIDING: session_pb2.WINDOW_SLIDING,
    Window.BARRIER: session_pb2.WINDOW_BARRIER,
}
_CONTROLS = {
    DepthControl.FIXED: session_pb2.DEPTH_CONTROL_FIXED,
    DepthControl.AUTO: session_pb2.DEPTH_CONTROL_AUTO,
    DepthControl.DYNAMIC: session_pb2.DEPTH_CONTROL_DYNAMIC,
}
_COMMITS = {
    CommitMode.STEP: session_pb2.COMMIT_MODE_STEP,
    CommitMode.SESSION: session_pb2.COMMIT_MODE_SESSION,
}


class _Managed(Protocol):
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


Opened = TypeVar("Opened", bound=_Managed)


class Opening(Generic[Opened]):
    """Something to be awaited, or entered with `async with`, which closes it at the end."""

    def __init__(self, opening: Callable[[], Awaitable[Opened]]) -> None:
        """Open with `opening`, once."""
        self._opening = opening
        self._opened: Opened | None = None

    async def open(self) -> Opened:
        """Open it."""
        return await self._opening()

    def __await__(self) -> Generator[object, None, Opened]:
        """Open it."""
        return self._opening().__await__()

    async def __aenter__(self) -> Opened:
        """Open it."""
        self._opened = await self
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, traceback)


def connect(
    endpoint: str | None = None,
    *,
    state_dir: str | os.PathLike[str] | None = None,
    program: str | os.PathLike[str] | None = None,
    spawn: bool = True,
    timeout: float = START_TIMEOUT,
) -> Opening[Forerun]:
    """Connect to the daemon of this user; start it if none answers and that is allowed.

    `endpoint` as `FORERUN_ENDPOINT` spells it; `state_dir` is where a daemon that is started
    keeps its state; `program` is the `forerun` to start, otherwise `FORERUN_BIN`, the one of
    this package, one in `PATH`. `spawn=False` and the variable `FORERUN_NO_SPAWN` forbid to
    start it; `timeout`: seconds that it may take until it serves. Raises `ForerunError`.
    """

    async def opening() -> Forerun:
        environment = os.environ
        locations = Locations.find(endpoint, Path(state_dir) if state_dir else None, environment)
        may_spawn = spawn and environment.get("FORERUN_NO_SPAWN", "0") in {"", "0"}
        deadline = time.monotonic() + timeout
        while True:
            reached = await _reach(locations.socket)
            if isinstance(reached, Forerun):
                return reached
            if time.monotonic() > deadline:
                raise reached
            if may_spawn:
                found = find_program(Path(program) if program else None, environment)
                await start(found, locations, environment)
            elif isinstance(reached, NotRunningError):
                raise reached
            await asyncio.sleep(_POLL)

    return Opening(opening)


async def _reach(socket: Path) -> Forerun | ForerunError:
    """Return the daemon that listens there; why it can not be used now, if it can not."""
    if not await asyncio.to_thread(listens, socket):
        return NotRunningError(f"no daemon answers on unix://{socket}")
    connection = Connection(socket)
    try:
        status = await connection.status()
    except BaseException as error:
        await connection.close()
        # It stopped between the two connections, or is stopping, or has only begun.
        if isinstance(error, ForerunError) and is_passing(error):
            return error
        raise
    return Forerun(connection, Path(status.state_dir))


class Forerun:
    """A connected daemon. The connection is made again when it breaks."""

    def __init__(self, connection: Connection, state_dir: Path) -> None:
        """Made by `connect`."""
        self.state_dir = state_dir
        """Where the daemon keeps its state, as it says itself."""
        self._connection = connection

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection. The daemon and its sessions go on."""
        await self.close()

    async def close(self) -> None:
        """Close the connection. The daemon and its sessions go on."""
        await self._connection.close()

    def session(  # noqa: PLR0913
        self,
        workspace: str | os.PathLike[str],
        *,
        task: str = "",
        instructions: str = "",
        approximation: Agent | AgentFunction | None = None,
        target: Agent | AgentFunction | None = None,
        tools: Sequence[ClientTool | ToolFunction] = (),
        policy: str = "",
        depth: int | None = None,
        depth_control: DepthControl | None = None,
        tau: float | None = None,
        matcher: str | None = None,
        width: int | None = None,
        predict: bool = False,
        window: Window | None = None,
        review: float = 0.0,
        max_steps: int | None = None,
        commit: CommitMode | None = None,
        seed: int | None = None,
        clock_ns: int | None = None,
        idempotency_key: str | None = None,
    ) -> Opening[Session]:
        """Open a session on a workspace, and attach the agents that are given.

        `tools`: functions of this program that are to be tools of the session, for as long as
        it is open; `forerun.tool` says more about them than their signatures do.
        `depth`: how many steps may be undecided at once, 0 is without speculation;
        `depth_control`: how the depth is found up to that, and `tau`, from 0.001 to 0.999, what
        a second that `DYNAMIC` saves is worth beside one that agents work in vain; `matcher`:
        which candidates a verdict means beside its equals, `exact`, `fuzzy(0.3)` or `effect`;
        `width`: how many candidates for a step run side by side; `predict`: whether the next
        action is predicted from what was done in this workspace before, and executed ahead
        where that pays; `review`: seconds for which a verdict
        can be replaced; `seed` and `clock_ns`: two sessions with the same are a fair pair.
        What is not said is the daemon's default. Raises `ForerunError`.
        """
        own = [as_tool(each) for each in tools]
        given = {
            "workspace": str(Path(workspace).absolute()),
            "task": task,
            "instructions": instructions,
            "policy": policy,
            "depth": depth,
            "depth_control": None if depth_control is None else _CONTROLS[depth_control],
            "tau": None if tau is None else round(tau * 1_000),
            "matcher": matcher,
            "width": width,
            "predict": predict,
            "window": None if window is None else _WINDOWS[window],
            "review_ms": millis(review) if review else 0,
            "max_steps": max_steps,
            "commit": None if commit is None else _COMMITS[commit],
            "seed": seed,
            "clock_ns": clock_ns,
        }

        async def opening() -> Session:
            request = session_pb2.SessionServiceCreateRequest(
                idempotency_key=idempotency_key or secrets.token_hex(16)
            )
            for name, value in given.items():
                try:
                    if value is not None:
                        setattr(request, name, value)
                except (TypeError, ValueError) as error:
                    message = f"{name} can not be {value!r}: {error}"
                    raise ArgumentError(message) from error
            return await self._open(request, own, approximation, target)

        return Opening(opening)

    async def _open(
        self,
        request: session_pb2.SessionServiceCreateRequest,
        tools: Sequence[ClientTool],
        approximation: Agent | AgentFunction | None,
        target: Agent | AgentFunction | None,
    ) -> Session:
        offer = Offer(self._connection, self._owner_key(), tools) if tools else None
        if offer is not None:
            await offer.open()
            request.registrations.append(offer.registration)
        session: Session | None = None
        try:
            answer = await self._connection.call(
                "SessionService/Create",
                request,
                session_pb2.SessionServiceCreateResponse,
                self._owner_key(),
            )
            tokens = Tokens(answer.owner_token, answer.approximation_token, answer.target_token)
            session = Session(self._connection, answer.session.id, tokens, offer)
            if approximation is not None:
                await session.attach(Role.APPROXIMATION, approximation)
            if target is not None:
                await session.attach(Role.TARGET, target)
        except BaseException as error:
            if session is not None:
                await session.__aexit__(type(error), error, None)
            elif offer is not None:
                await offer.close()
            raise
        return session

    def existing(self, session: str, token: str | None = None) -> Session:
        """Return a session that exists; with the owner key, unless a token of it is given.

        Asks nothing yet. As a context manager it would be closed, too. Raises `ForerunError`
        if the owner key can not be read.
        """
        token = self._owner_key() if token is None else token
        return Session(self._connection, session, Tokens(token, token, token))

    async def sessions(self, limit: int | None = None) -> tuple[SessionInfo, ...]:
        """Return all sessions of this user, newest first, at most `limit` if given."""
        answer = await self._connection.call(
            "SessionService/List",
            session_pb2.SessionServiceListRequest(limit=limit or 0),
            session_pb2.SessionServiceListResponse,
            self._owner_key(),
        )
        return tuple(read(SessionInfo, each) for each in answer.sessions)

    async def tools(self) -> tuple[Tool, ...]:
        """Return the tools that a session that is opened now would have."""
        answer = await self._connection.call(
            "ToolService/List",
            tool_pb2.ToolServiceListRequest(),
            tool_pb2.ToolServiceListResponse,
            self._owner_key(),
        )
        return tuple(read(Tool, each) for each in answer.tools)

    async def status(self) -> DaemonStatus:
        """Return what runs, and where."""
        return read(DaemonStatus, await self._connection.status())

    async def shutdown(self) -> None:
        """Ask the daemon to stop: commits finish, what is not verified is squashed."""
        await self._connection.call(
            "DaemonService/Shutdown",
            daemon_pb2.DaemonServiceShutdownRequest(),
            daemon_pb2.DaemonServiceShutdownResponse,
            self._owner_key(),
            again=False,
        )

    def _owner_key(self) -> str:
        """Return the per-user key that counts as the owner token of every session."""
        path = self.state_dir / OWNER_KEY_FILE
        try:
            key = path.read_text().strip()
        except (OSError, ValueError) as error:
            message = f"could not read the owner key {path}: {error}"
            raise ForerunError(message) from error
        if not 0 < len(key) <= OWNER_KEY_BYTES_MAX:
            message = f"in {path} is no owner key"
            raise ForerunError(message)
        return key
