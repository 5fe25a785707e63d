"""The examples of the README run, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from forerun import Forerun

HERE = Path(__file__).parent.parent


@pytest_asyncio.fixture
async def environment(daemon: Forerun) -> AsyncIterator[dict[str, str]]:
    yield {**os.environ, "FORERUN_ENDPOINT": (await daemon.status()).endpoint}


def blocks(language: str) -> list[str]:
    readme = (HERE / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def output(example: str, workspace: Path, environment: dict[str, str]) -> str:
    return subprocess.run(  # noqa: S603
        [sys.executable, HERE / "examples" / example, workspace],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


async def test_the_quick_start(workspace: Path, environment: dict[str, str]) -> None:
    assert (HERE / "examples/quickstart.py").read_text() in blocks("python")
    # Commits may be told before or after what comes meanwhile.
    printed = sorted(output("quickstart.py", workspace, environment).splitlines())
    assert printed in [sorted(block.splitlines()) for block in blocks("text")]
    assert not (workspace / "index.html").exists()


async def test_an_own_loop(workspace: Path, environment: dict[str, str]) -> None:
    assert output("own_loop.py", workspace, environment) in blocks("text")
    assert (workspace / "hello.txt").read_text() == "hello\n"


async def test_twenty_lines_run_ahead_interrupt_and_undo(
    workspace: Path, environment: dict[str, str]
) -> None:
    printed = output("short.py", workspace, environment).splitlines()
    assert printed == ["0 user write_file", "1 target terminate", "undone: ['a']"]
    assert not (workspace / "a").exists()
