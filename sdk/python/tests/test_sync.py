"""The same without asyncio."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

import forerun
from forerun import Action, events, sync

if TYPE_CHECKING:
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
