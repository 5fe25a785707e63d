"""The same without asyncio."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

import forerun
from forerun import Action, events, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forerun import Request

PLAN = [
    Action("write_file", {"path": "a.txt", "content": "a\n"}),
    Action.terminate("done"),
]


def slowly(request: Request) -> Action:
    time.sleep(0.1)
    return PLAN[request.step]


def test_sessions_and_acts_without_asyncio(tmp_path: Path, workspace: Path) -> None:
    state = tmp_path / "s"
    with sync.connect(f"unix://{state}/f.sock", state_dir=state) as daemon:
        with daemon.session(
            workspace, approximation=lambda request: PLAN[request.step], target=slowly
        ) as session:
            log = list(session.steps())
        assert isinstance(log[-1], events.Finished)
        assert (workspace / "a.txt").read_text() == "a\n"
        assert len(session.undo()) == 1
        assert not (workspace / "a.txt").exists()
        with daemon.session(workspace) as session:
            read = Action("read_file", {"path": "there.txt"})
            assert session.act(read).observation.text == "there\n"
            for event in session.watch():
                if isinstance(event, events.Verified):
                    break
            with pytest.raises(forerun.RefusedError) as refused:
                session.unclaim(0)
            assert refused.value.code == "INTERRUPT_REFUSED"
            assert {"read_file"} <= {tool.name for tool in daemon.tools()}
        assert len(daemon.sessions()) == 2
        daemon.shutdown()
    assert not any(thread.name == "forerun" for thread in threading.enumerate())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[sync.Forerun]:
    state = tmp_path / "s"
    with sync.connect(f"unix://{state}/f.sock", state_dir=state) as daemon:
        yield daemon
        daemon.shutdown()


def test_calls_that_nobody_wants_any_more_hold_nothing_up(
    daemon: sync.Forerun, workspace: Path
) -> None:
    plan = [Action("list_dir")] * 12 + [Action.terminate("done")]

    class Stuck:
        """An object whose `propose` is a plain function, and never ends in time."""

        model = "stuck"

        def propose(self, _request: Request) -> Action:
            time.sleep(60)
            return plan[0]

    begun = time.monotonic()
    with daemon.session(workspace, depth=1) as session:
        session.attach(forerun.Role.APPROXIMATION, Stuck())
        session.attach(forerun.Role.TARGET, lambda request: plan[request.step])
        assert session.wait().answer == "done"
    assert time.monotonic() - begun < 30


def test_an_agent_that_ends_its_thread_ends_its_call(daemon: sync.Forerun, workspace: Path) -> None:
    def leaves(_request: Request) -> Action:
        raise SystemExit(3)

    with (
        daemon.session(workspace, target=leaves) as session,
        pytest.raises(forerun.StalledError, match="SystemExit"),
    ):
        session.wait()


def test_a_coroutine_function_is_an_agent_here_too(daemon: sync.Forerun, workspace: Path) -> None:
    async def target(_request: Request) -> Action:
        with pytest.raises(RuntimeError, match="await"):
            session.info()
        return Action.terminate("done")

    with daemon.session(workspace) as session:
        attachment = session.attach(forerun.Role.TARGET, target)
        assert session.wait().answer == "done"
        assert attachment.ended()


def test_closing_ends_what_other_threads_wait_for(tmp_path: Path, workspace: Path) -> None:
    state = tmp_path / "s"
    daemon = sync.connect(f"unix://{state}/f.sock", state_dir=state)
    session = daemon.session(workspace)
    raised: list[BaseException] = []

    def watch() -> None:
        try:
            list(session.steps())
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    watching = threading.Thread(target=watch)
    watching.start()
    time.sleep(0.3)
    generator = session.steps()
    next(generator)
    daemon.shutdown()
    daemon.close()
    daemon.close()
    watching.join(10)
    assert not watching.is_alive()
    assert isinstance(raised[0], forerun.ForerunError)
    generator.close()
    with pytest.raises(forerun.errors.ClosedError):
        session.info()
