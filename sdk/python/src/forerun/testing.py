"""For tests of programs that use this package.

`private_daemon` is the real thing in directories of its own: sandboxes, policy, undo. Where that
is too much, `FakeSession` does the actions of an agent's own loop with plain functions; and an
agent alone is tried with a `Request` that is made by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forerun._endpoint import find_program, without_secrets
from forerun.daemon import Forerun, connect
from forerun.errors import NotRunningError, RefusedError, StartFailedError
from forerun.values import Act, Action, Done, Hit, Json, Observation, ObservationStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

START_TIMEOUT = 60.0
"""Seconds that a private daemon may take until it answers."""
STOP_TIMEOUT = 20.0
"""Seconds that it may take to stop."""
_POLL = 0.02


@asynccontextmanager
async def private_daemon(
    program: str | os.PathLike[str] | None = None,
) -> AsyncIterator[Forerun]:
    """Start a daemon of one's own, with empty state and no configuration; stop it at the end.

    Raises `ForerunError` if it does not start.
    """
    found = find_program(Path(program) if program else None, os.environ)
    with tempfile.TemporaryDirectory(prefix="fr-") as directory:
        home = Path(directory)
        endpoint = f"unix://{home}/f.sock"
        environment = {
            **without_secrets(os.environ),
            "HOME": directory,
            "XDG_CONFIG_HOME": str(home / "config"),
            "FORERUN_STATE_DIR": directory,
        }
        with (home / "daemon.log").open("wb") as log:
            serving = await asyncio.create_subprocess_exec(
                found,
                "serve",
                "--endpoint",
                endpoint,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        try:
            async with await _wait_until_it_answers(endpoint, serving, home) as daemon:
                yield daemon
        finally:
            if serving.returncode is None:
                serving.terminate()
            try:
                await asyncio.wait_for(serving.wait(), STOP_TIMEOUT)
            except TimeoutError:
                serving.kill()
                await serving.wait()


async def _wait_until_it_answers(
    endpoint: str, serving: asyncio.subprocess.Process, home: Path
) -> Forerun:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    while True:
        try:
            return await connect(endpoint, state_dir=home, spawn=False)
        except NotRunningError:
            late = asyncio.get_running_loop().time() > deadline
            if late or serving.returncode is not None:
                said = (home / "daemon.log").read_text(errors="replace")
                message = f"the private daemon did not start; it said:\n{said}"
                raise StartFailedError(message) from None
        await asyncio.sleep(_POLL)


class FakeSession:
    """Stands in for a `Session` where an agent's own loop acts: without daemon or sandbox.

    `tools` are plain functions by name. What one returns is the observation's text (or its JSON,
    if it is no text), what it raises is a tool error. `acts` has what was done, in order.
    """

    id = "ses_fake"
    """As `Session.id`."""

    def __init__(
        self,
        tools: Mapping[str, Callable[..., Json]],
        owner: Callable[[str], str] = lambda _question: "",
    ) -> None:
        """Take the tools, and who answers what `ask_user` asks."""
        self.tools = dict(tools)
        self.owner = owner
        self.acts: list[tuple[Action, Observation]] = []
        self.answer: str | None = None
        """The session's result, once an action was `terminate`."""
        self.predictions: list[tuple[Action, ...]] = []
        """What `predict` was told, oldest first."""
        self._told: dict[str, tuple[Action, Act]] = {}

    async def act(
        self, action: Action, *, key: str | None = None, owner_wait: float | None = None
    ) -> Act:
        """Do an action as `Session.act` does; the owner never has to be waited for."""
        del owner_wait
        key = f"key_{len(self._told)}" if key is None else key
        if key in self._told:
            before, told = self._told[key]
            if before == action:
                return told
            msg = "IDEMPOTENCY_KEY_REUSED"
            raise _refusal(msg, "the key was used for another action")
        if self.answer is not None:
            msg = "SESSION_OVER"
            raise _refusal(msg, "the session is over")
        observation = self._observe(action)
        step = len(self.acts)
        self.acts.append((action, observation))
        done = Done(
            step=step,
            observation=observation,
            commit=None,
            changed=(),
            hit=Hit.NONE,
            instead=None,
            hidden=0.0,
        )
        self._told[key] = (action, Act(key, done, ()))
        return self._told[key][1]

    async def act_result(self, key: str, *, owner_wait: float | None = None) -> Act:
        """Return what became of an earlier act."""
        del owner_wait
        if key not in self._told:
            msg = "ACT_NOT_FOUND"
            raise _refusal(msg, f"no act has the key {key!r}")
        return self._told[key][1]

    async def predict(
        self, *candidates: Action, after: str | None = None, ttl: float | None = None
    ) -> None:
        """Take note of what is predicted, in `predictions`; nothing runs ahead here."""
        del ttl
        if after is not None and after not in self._told:
            msg = "ACT_NOT_FOUND"
            raise _refusal(msg, f"no act has the key {after!r}")
        self.predictions.append(candidates)

    def _observe(self, action: Action) -> Observation:
        arguments = json.loads(action.to_json())
        if action.tool == "terminate":
            self.answer = str(arguments.get("answer", ""))
            return Observation(ObservationStatus.SUCCESS, self.answer)
        if action.tool == "ask_user":
            text = self.owner(str(arguments.get("question", "")))
            return Observation(ObservationStatus.SUCCESS, text)
        tool = self.tools.get(action.tool)
        if tool is None:
            names = ", ".join(sorted(self.tools))
            text = f'there is no tool "{action.tool}"; the tools are: {names}'
            return Observation(ObservationStatus.INVALID, text)
        try:
            returned = tool(**arguments)
        except Exception as error:  # noqa: BLE001 - whatever it was, the agent is told
            return Observation(ObservationStatus.TOOL_ERROR, f"{type(error).__name__}: {error}")
        if isinstance(returned, str):
            return Observation(ObservationStatus.SUCCESS, returned)
        text = json.dumps(returned)
        return Observation(ObservationStatus.SUCCESS, text, structured=text)


def _refusal(reason: str, message: str) -> RefusedError:
    return RefusedError(reason, message, metadata={})
