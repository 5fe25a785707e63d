"""Functions of a program as tools of its sessions."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Literal

import pytest

import forerun
from forerun import Action, Done, Hit, ObservationStatus
from forerun.errors import ArgumentError
from forerun.tools import as_tool

if TYPE_CHECKING:
    from pathlib import Path

    from forerun import Forerun, Request


def look_up(key: str, kind: Literal["word", "name"] = "word", limit: int | None = None) -> str:
    """Look something up."""
    return f"{kind} {key} {limit}"


def test_a_schema_comes_from_the_signature() -> None:
    tool = as_tool(look_up)
    assert (tool.name, tool.description, tool.pure) == ("look_up", "Look something up.", False)
    assert tool.schema == {
        "type": "object",
        "properties": {
            "key": {"type": "string"},
            "kind": {"enum": ["word", "name"]},
            "limit": {"type": ["integer", "null"]},
        },
        "required": ["key"],
        "additionalProperties": False,
    }


def test_what_has_no_schema_says_so() -> None:
    def odd(key: complex) -> str:
        return str(key)

    def many(**keys: Any) -> str:  # noqa: ANN401
        return str(keys)

    with pytest.raises(ArgumentError, match="key"):
        as_tool(odd)
    with pytest.raises(ArgumentError, match="give a schema"):
        as_tool(many)
    assert forerun.tool(schema={"type": "object"})(many).schema == {"type": "object"}
    with pytest.raises(ArgumentError, match="lower-case"):
        forerun.tool(name="Look up")(look_up)


async def test_a_function_is_a_tool_of_the_session(daemon: Forerun, workspace: Path) -> None:
    threads = set()

    def fails() -> str:
        threads.add(threading.current_thread())
        raise LookupError("there is none")  # noqa: EM101, TRY003

    async def numbers() -> list[int]:
        return [1, 2]

    async with daemon.session(workspace, tools=[look_up, fails, numbers]) as session:
        act = await session.act(Action("look_up", {"key": "k"}))
        assert act.observation.text == "word k None"
        invalid = await session.act(Action("look_up", {"key": "k", "kind": "verb"}))
        assert invalid.observation.status is ObservationStatus.INVALID
        failed = await session.act(Action("fails"))
        assert failed.observation.status is ObservationStatus.TOOL_ERROR
        assert failed.observation.text == "LookupError: there is none"
        assert threading.current_thread() not in threads
        assert (await session.act(Action("numbers"))).observation.json() == [1, 2]
    async with daemon.session(workspace) as other:
        unknown = await other.act(Action("numbers"))
        assert unknown.observation.status is ObservationStatus.INVALID


async def test_a_pure_one_runs_ahead_and_is_cancelled_when_it_was_not_meant(
    daemon: Forerun, workspace: Path
) -> None:
    called: list[str] = []
    cancelled = asyncio.Event()

    @forerun.tool(pure=True)
    async def slow(key: str) -> str:
        called.append(key)
        try:
            await asyncio.sleep(60 if key == "wrong" else 0.2)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return key

    guesses = [Action("slow", {"key": key}) for key in ("right", "right", "wrong")]

    async def guess(request: Request) -> Action:
        return guesses[request.step]

    async with daemon.session(workspace, approximation=guess, tools=[slow], depth=1) as session:
        await session.act(Action("list_dir"))
        await asyncio.sleep(0.8)
        act = await session.act(Action("slow", {"key": "right"}))
        assert isinstance(act.outcome, Done)
        assert act.outcome.hit is Hit.FULL
        await asyncio.sleep(0.5)
        await session.act(Action("list_dir"))
        await asyncio.wait_for(cancelled.wait(), 10)
    assert called == ["right", "wrong"]


async def test_a_name_that_is_taken_is_refused(daemon: Forerun, workspace: Path) -> None:
    mine = forerun.tool(name="read_file")(look_up)
    with pytest.raises(forerun.RefusedError, match="read_file") as refused:
        await daemon.session(workspace, tools=[mine])
    assert refused.value.code == "REQUEST_INVALID"
