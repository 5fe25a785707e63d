"""An agent's own loop, on a real daemon and on the fake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import forerun
from forerun import Action, Done, Hit, ObservationStatus, Role, View, events
from forerun.testing import FakeSession

if TYPE_CHECKING:
    from pathlib import Path

    from forerun import Forerun, Request

WRITE = Action("write_file", {"path": "new.txt", "content": "1"})
READ = Action("read_file", {"path": "there.txt"})


async def test_each_act_is_in_the_workspace_when_it_is_told(
    daemon: Forerun, workspace: Path
) -> None:
    async with daemon.session(workspace) as session:
        act = await session.act(WRITE, key="one")
        assert isinstance(act.outcome, Done)
        assert act.outcome.changed[0].path == "new.txt"
        assert (workspace / "new.txt").read_text() == "1"
        assert await session.act(WRITE, key="one") == act
        assert (await session.act_result("one")).outcome == act.outcome
        with pytest.raises(forerun.RefusedError) as reused:
            await session.act(READ, key="one")
        assert reused.value.code == "IDEMPOTENCY_KEY_REUSED"
        unknown = await session.act(Action("no_such_tool"))
        assert unknown.observation.status is ObservationStatus.INVALID
        texts = await asyncio.gather(*(session.act(READ) for _ in range(8)))
        assert {act.observation.text for act in texts} == {"there\n"}
        assert (await session.info()).counts.verified == 10
    await session.undo()
    assert not (workspace / "new.txt").exists()


async def test_what_was_predicted_is_not_waited_for(daemon: Forerun, workspace: Path) -> None:
    async def guess(_request: Request) -> Action:
        return READ

    async with daemon.session(workspace, approximation=guess, depth=1) as session:
        await session.act(READ)
        await asyncio.sleep(0.5)
        act = await session.act(READ)
        assert isinstance(act.outcome, Done)
        assert act.outcome.hit is Hit.FULL
        assert act.outcome.hidden > 0


async def test_what_the_caller_predicts_runs_ahead(daemon: Forerun, workspace: Path) -> None:
    async with daemon.session(workspace, depth=1, width=3) as session:
        await session.predict(Action("list_dir"), READ, WRITE)
        async for event in session.watch(View.TRACE):
            if isinstance(event, events.Predicted):
                assert event.by is events.Predictor.CALLER
                assert event.actions == (Action("list_dir"), READ, WRITE)
                break
        await asyncio.sleep(0.5)
        assert not (workspace / "new.txt").exists()
        act = await session.act(WRITE)
        assert isinstance(act.outcome, Done)
        assert act.outcome.hit is Hit.FULL
        assert (workspace / "new.txt").read_text() == "1"
        with pytest.raises(forerun.RefusedError, match=r"candidates\[0\]"):
            await session.predict(Action("read_file", {"path": 7}))
        with pytest.raises(forerun.RefusedError) as unknown:
            await session.predict(READ, after="nothing")
        assert unknown.value.code == "ACT_NOT_FOUND"


async def test_history_is_asked_where_it_is_wanted(daemon: Forerun, workspace: Path) -> None:
    async with daemon.session(workspace, predict=True) as session:
        assert (await session.info()).predict
    async with daemon.session(workspace) as session:
        assert not (await session.info()).predict


async def test_an_act_that_waits_for_the_owner_says_so(daemon: Forerun, workspace: Path) -> None:
    async with daemon.session(workspace) as session:
        question = Action.ask_user("which?")
        act = await session.act(question, key="ask", owner_wait=0.1)
        assert isinstance(act.outcome, forerun.Pending)
        with pytest.raises(forerun.PendingError, match="owner"):
            _ = act.observation
        await session.answer(0, "this one")
        act = await session.act_result("ask")
        assert "this one" in act.observation.text


async def test_a_loop_is_tried_without_a_daemon() -> None:
    session = FakeSession({"read_file": lambda path: {"path": path}, "broken": lambda: 1 / 0})
    await session.predict(READ, WRITE)
    assert session.predictions == [(READ, WRITE)]
    act = await session.act(READ, key="one")
    assert act.observation.json() == {"path": "there.txt"}
    assert await session.act(READ, key="one") is act
    with pytest.raises(forerun.RefusedError) as reused:
        await session.act(WRITE, key="one")
    assert reused.value.code == "IDEMPOTENCY_KEY_REUSED"
    broken = await session.act(Action("broken"))
    assert broken.observation.status is ObservationStatus.TOOL_ERROR
    unknown = await session.act(WRITE)
    assert unknown.observation.status is ObservationStatus.INVALID
    await session.act(Action.terminate("that was it"))
    assert session.answer == "that was it"
    with pytest.raises(forerun.RefusedError) as over:
        await session.act(READ)
    assert over.value.code == "SESSION_OVER"
    assert [action.tool for action, _ in session.acts][:2] == ["read_file", "broken"]


async def test_an_agent_is_tried_without_a_daemon() -> None:
    done = forerun.Observation(ObservationStatus.SUCCESS, "there\n")
    request = forerun.Request("look", entries=(forerun.Step(READ, done), forerun.Suggestion("go")))
    assert (request.step, request.role) == (1, Role.TARGET)

    @forerun.agent(model="none", capacity=2)
    async def after(request: Request) -> Action:
        return Action.terminate(request.steps[-1].observation.text)

    assert await after.propose(request) == Action.terminate("there\n")
    assert (after.model, after.capacity) == ("none", 2)
