"""Sessions of two agents, on a real daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import forerun
from forerun import Action, CommitMode, Finish, Role, SessionState, events

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Proxy

    from forerun import Event, Forerun, Request, Session

PLAN = [
    Action("write_file", {"path": "a.txt", "content": "a\n"}),
    Action("write_file", {"path": "b.txt", "content": "b\n"}),
    Action.terminate("done"),
]


async def at_once(request: Request) -> Action:
    return PLAN[request.step]


async def slowly(request: Request) -> Action:
    await asyncio.sleep(0.2)
    return PLAN[request.step]


async def all_of(session: Session) -> list[Event]:
    return [event async for event in session.steps()]


async def test_what_is_proposed_runs_ahead_and_the_verdict_commits_it(
    daemon: Forerun, workspace: Path
) -> None:
    async with daemon.session(
        workspace, task="two files", approximation=at_once, target=slowly
    ) as session:
        log = await all_of(session)
        info = await session.info()
    answers = [event for event in log if isinstance(event, events.Answer)]
    assert [(answer.step, answer.matched) for answer in answers] == [(0, 1), (1, 1), (2, 1)]
    assert (workspace / "b.txt").read_text() == "b\n"
    assert (info.answer, info.counts.matched, info.task) == ("done", 3, "two files")
    sequences = [event.sequence for event in log]
    assert sequences == sorted(set(sequences))
    undone = await session.undo()
    assert [(each.step, each.changed[0].path) for each in undone] == [(1, "b.txt"), (0, "a.txt")]
    assert not (workspace / "a.txt").exists()
    assert not (workspace / "b.txt").exists()
    await session.redo()
    assert (workspace / "a.txt").exists()


async def test_agents_see_what_came_before_as_the_daemon_has_it(
    daemon: Forerun, workspace: Path
) -> None:
    seen: list[Request] = []

    async def target(request: Request) -> Action:
        seen.append(request)
        return Action("read_file", {"path": "there.txt"}) if request.step < 2 else PLAN[2]

    async with daemon.session(
        workspace, task="look", instructions="twice", target=target, depth=0
    ) as session:
        await all_of(session)
    assert [request.step for request in seen] == [0, 1, 2]
    last = seen[-1]
    assert (last.task, last.instructions, last.role) == ("look", "twice", Role.TARGET)
    assert [step.observation.text for step in last.steps] == ["there\n", "there\n"]
    assert last.steps[0].action == Action("read_file", {"path": "there.txt"})
    assert {"read_file", "shell"} <= {tool.name for tool in last.tools}
    assert len({request.prefix for request in seen}) == 3


async def test_a_person_outranks_the_target(daemon: Forerun, workspace: Path) -> None:
    mine = Action("write_file", {"path": "a.txt", "content": "mine\n"})
    async with daemon.session(workspace, approximation=at_once, target=slowly) as session:
        async for event in session.steps():
            match event:
                case events.Waiting(step=0, prefix=prefix):
                    await session.replace(0, mine, seen=prefix)
                    with pytest.raises(forerun.RefusedError) as refused:
                        await session.replace(0, mine, seen=prefix)
                    assert refused.value.code in {"INTERRUPT_REFUSED", "SEEN_CHANGED"}
    assert (workspace / "a.txt").read_text() == "mine\n"


async def test_what_is_said_to_agents_reaches_them(daemon: Forerun, workspace: Path) -> None:
    heard = asyncio.Event()

    async def listening(request: Request) -> Action:
        if any(isinstance(entry, forerun.Suggestion) for entry in request.entries):
            heard.set()
            return Action.terminate("heard")
        await asyncio.sleep(60)
        return PLAN[0]

    async with daemon.session(workspace, target=listening, depth=1) as session:
        await session.suggest("that is enough")
        await all_of(session)
        assert (await session.info()).answer == "heard"
    assert heard.is_set()


async def test_a_question_is_answered_by_the_owner(daemon: Forerun, workspace: Path) -> None:
    async def asking(request: Request) -> Action:
        if request.step == 0:
            return Action.ask_user("which colour?")
        return Action.terminate(request.steps[0].observation.text)

    async with daemon.session(workspace, target=asking) as session:
        async for event in session.steps():
            match event:
                case events.Question(step=step, question=question):
                    assert question == "which colour?"
                    await session.answer(step, "green")
        assert "green" in str((await session.info()).answer)


async def test_a_call_that_is_not_wanted_any_more_is_cancelled(
    daemon: Forerun, workspace: Path
) -> None:
    cancelled = asyncio.Event()

    async def never(_request: Request) -> Action:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return PLAN[0]

    async with daemon.session(workspace, target=never) as session:
        async for event in session.watch(forerun.View.TRACE):
            match event:
                case events.Asked(step=0, role=Role.TARGET):
                    await session.replace(0, Action.terminate("enough"))
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_what_agents_fail_with_is_told(daemon: Forerun, workspace: Path) -> None:
    def fails() -> Action:
        raise ZeroDivisionError

    failures = iter([forerun.TransientError("busy"), forerun.RateLimitedError("slow down", 0.01)])

    async def target(_request: Request) -> Action:
        error = next(failures, None)
        if error is not None:
            raise error
        return fails()

    async with daemon.session(workspace, target=target) as session:
        reasons = []
        async for event in session.watch(forerun.View.TRACE):
            match event:
                case events.CallEnded(reason=reason):
                    reasons.append(reason)
                case events.Stalled(hint=hint):
                    assert hint
                    await session.stop()
    assert reasons[0] == "busy"
    assert "slow down" in reasons[1]
    assert any("ZeroDivisionError" in reason for reason in reasons[2:])


async def test_with_commit_session_nothing_is_written_until_finish(
    daemon: Forerun, workspace: Path
) -> None:
    async with daemon.session(workspace, target=at_once, commit=CommitMode.SESSION) as session:
        async for event in session.steps():
            if isinstance(event, events.Ended):
                assert not (workspace / "a.txt").exists()
                diff = {each.path: each for each in await session.diff()}
                assert "+a" in diff["a.txt"].unified
                finished = await session.finish(Finish.COMMIT)
                assert {change.path for change in finished.changed} == {"a.txt", "b.txt"}
    assert (workspace / "a.txt").read_text() == "a\n"


async def test_stop_with_undo_takes_everything_back(daemon: Forerun, workspace: Path) -> None:
    async def target(request: Request) -> Action:
        if request.step == 2:
            await asyncio.sleep(60)
        return PLAN[request.step]

    async with daemon.session(workspace, target=target, depth=0) as session:
        async for event in session.steps():
            if isinstance(event, events.Committed) and event.step == 1:
                break
        taken_back = await session.stop(undo=True)
    assert [undone.step for undone in taken_back.undone] == [1, 0]
    assert taken_back.refused is None
    assert not (workspace / "a.txt").exists()


async def test_a_broken_connection_loses_and_repeats_nothing(workspace: Path, proxy: Proxy) -> None:
    asked: list[int] = []

    async def target(request: Request) -> Action:
        asked.append(request.step)
        await asyncio.sleep(0.3)
        return PLAN[request.step]

    async with forerun.connect(f"unix://{proxy.socket}", spawn=False) as far:
        async with far.session(workspace, target=target, depth=0) as session:
            seen: list[Event] = []
            async for event in session.watch(forerun.View.TRACE):
                seen.append(event)
                if isinstance(event, events.Asked):
                    # While the agent thinks: its answer has to go over the next stream.
                    proxy.break_all()
        assert proxy.connections >= 4
    assert asked == [0, 1, 2]
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert sum(isinstance(event, events.AgentAttached) for event in seen) >= 4
    assert (workspace / "b.txt").exists()


async def test_an_agent_that_leaves_fails_its_calls_at_once(
    daemon: Forerun, workspace: Path
) -> None:
    async def never(_request: Request) -> Action:
        await asyncio.sleep(60)
        return PLAN[0]

    async with daemon.session(workspace) as session:
        attachment = await session.attach(Role.TARGET, never, agent_id="one", model="m")
        assert (await session.info()).agents[0].model == "m"
        with pytest.raises(forerun.RefusedError) as taken:
            await session.attach(Role.TARGET, at_once)
        assert taken.value.code == "ROLE_TAKEN"
        await attachment.detach()
        assert attachment.is_over
        # A stalled session goes on with the next agent.
        await session.attach(Role.TARGET, at_once)
        async with asyncio.timeout(20):
            await all_of(session)
        assert (await session.info()).state is SessionState.FINISHED


async def test_bad_requests_name_the_field(daemon: Forerun, workspace: Path) -> None:
    with pytest.raises(forerun.RefusedError) as refused:
        await daemon.session(workspace / "missing")
    assert refused.value.code == "WORKSPACE_NOT_FOUND"
    with pytest.raises(forerun.RefusedError) as refused:
        await daemon.session(workspace, width=99)
    assert refused.value.code == "REQUEST_INVALID"
    assert "width" in dict(refused.value.fields)
    for control in (forerun.DepthControl.DYNAMIC, forerun.DepthControl.FIXED):
        with pytest.raises(forerun.RefusedError) as refused:
            await daemon.session(workspace, depth_control=control, tau=1.5)
        assert "tau" in dict(refused.value.fields)
    async with daemon.session(workspace, depth_control=forerun.DepthControl.DYNAMIC, tau=0.7):
        pass
    with pytest.raises(forerun.errors.ArgumentError, match="depth"):
        await daemon.session(workspace, depth=-1)
    with pytest.raises(TypeError, match="no agent"):
        await daemon.session(workspace, target=lambda request: PLAN[request.step])  # type: ignore[arg-type,return-value]
    assert all(info.state is not SessionState.OPEN for info in await daemon.sessions())


async def test_a_token_of_a_role_is_no_owners(daemon: Forerun, workspace: Path) -> None:
    async with daemon.session(workspace) as session:
        stranger = daemon.existing(session.id, session.tokens.approximation)
        assert (await stranger.info()).id == session.id
        with pytest.raises(forerun.RefusedError) as refused:
            await stranger.pause()
        assert refused.value.code == "TOKEN_NOT_ALLOWED"
        assert session.tokens.owner not in repr(session.tokens)


async def test_a_daemon_that_is_busy_is_waited_for(proxy: Proxy) -> None:
    proxy.delay = 0.5
    async with forerun.connect(f"unix://{proxy.socket}", spawn=False) as far:
        assert (await far.status()).pid > 0


async def test_no_failure_of_an_agent_is_kept_from_the_daemon(
    daemon: Forerun, workspace: Path
) -> None:
    async def cancelled_inside() -> None:
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner

    failures = iter([forerun.RateLimitedError("later", 0.01), None, OSError("half \ud800")])

    async def target(request: Request) -> Action:
        request.progress(-1)
        failure = next(failures)
        if failure is None:
            await cancelled_inside()
            return PLAN[0]
        raise failure

    reasons: list[str] = []
    async with daemon.session(workspace, target=target) as session:
        async with asyncio.timeout(30):
            async for event in session.watch(forerun.View.TRACE):
                match event:
                    case events.CallEnded(reason=reason):
                        reasons.append(reason)
                    case events.Stalled():
                        await session.stop()
        with pytest.raises(forerun.RefusedError):
            await session.pause()
    assert [word in " ".join(reasons) for word in ("later", "cancelled", "OSError: half ?")] == [
        True
    ] * 3
    assert forerun.RateLimitedError("no header").retry_after > 0
    assert forerun.RateLimitedError("odd", float("inf")).retry_after < 60


async def test_an_agent_may_say_anything_of_itself(daemon: Forerun, workspace: Path) -> None:
    class Own:
        model = PLAN[0]
        capacity = 1 << 40

        async def propose(self, request: Request) -> Action:
            return PLAN[request.step]

    async with daemon.session(workspace, target=Own()) as session:
        assert (await session.wait()).answer == "done"
    with pytest.raises(TypeError, match="no agent"):
        await daemon.session(workspace, target=Own)  # type: ignore[arg-type]


async def test_to_wait_ends_where_the_owner_is_waited_for(daemon: Forerun, workspace: Path) -> None:
    async def fails(_request: Request) -> Action:
        msg = "no idea"
        raise forerun.AgentError(msg)

    async with daemon.session(workspace, target=fails) as session:
        async with asyncio.timeout(30):
            with pytest.raises(forerun.StalledError, match="no idea"):
                await session.wait()


async def test_what_is_under_way_ends_with_the_connection(daemon: Forerun, workspace: Path) -> None:
    endpoint = (await daemon.status()).endpoint
    far = await forerun.connect(endpoint, spawn=False)
    session = await far.session(workspace)
    waiting = asyncio.create_task(session.act(Action.ask_user("which?")))
    watching = asyncio.create_task(all_of(session))
    await asyncio.sleep(0.3)
    await far.close()
    for task in (waiting, watching):
        with pytest.raises(forerun.errors.ClosedError):
            await task
    with pytest.raises(forerun.errors.ClosedError):
        await far.status()
    await daemon.existing(session.id).close()


async def test_what_can_not_be_said_is_no_raw_error(daemon: Forerun, workspace: Path) -> None:
    async with daemon.session(workspace) as session:
        for wrong in (
            session.claim(-1),
            session.undo(-1),
            session.act(Action("\ud800")),
            session.act(PLAN[0], owner_wait=-1),
        ):
            with pytest.raises(forerun.errors.ArgumentError):
                await wrong
        with pytest.raises(forerun.errors.ArgumentError):
            _ = [event async for event in session.watch(after=-1)]
