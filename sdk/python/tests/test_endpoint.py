"""The daemon is looked for where every SDK looks for it, and only where that is safe."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import forerun
from forerun._endpoint import Locations, check, find_program
from forerun.errors import (
    EndpointError,
    NotRunningError,
    ProgramNotFoundError,
    StartFailedError,
    UnsafeSocketError,
)

ALL = {
    "HOME": "/home/ada",
    "XDG_STATE_HOME": "/state",
    "XDG_RUNTIME_DIR": "/run/user/7",
    "FORERUN_ENDPOINT": "unix:///tmp/f.sock",
    "FORERUN_STATE_DIR": "/own",
}


def found(endpoint: str | None, names: str) -> tuple[str, str]:
    given = {name: value for name, value in ALL.items() if name in names.split()}
    locations = Locations.find(endpoint, None, given)
    return str(locations.socket), str(locations.state_dir)


def test_the_order_of_places() -> None:
    everything = " ".join(ALL)
    assert found("unix:///given", everything) == ("/given", "/own")
    assert found(None, everything) == ("/tmp/f.sock", "/own")  # noqa: S108
    assert found(None, "HOME XDG_STATE_HOME XDG_RUNTIME_DIR") == (
        "/run/user/7/forerun/forerun.sock",
        "/state/forerun",
    )
    assert found(None, "HOME XDG_STATE_HOME") == ("/state/forerun/forerun.sock", "/state/forerun")
    home = "/home/ada/.local/state/forerun"
    assert found(None, "HOME") == (f"{home}/forerun.sock", home)


@pytest.mark.parametrize("endpoint", ["forerun.sock", "http://localhost:1", "unix://x", "/dir/"])
def test_an_endpoint_of_another_form_is_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="unix:///path") as refused:
        Locations.find(endpoint, None, ALL)
    assert refused.value.code == "ENDPOINT_INVALID"
    with pytest.raises(EndpointError, match="107 bytes"):
        Locations.find("/" + "x" * 107, None, ALL)
    with pytest.raises(EndpointError, match="HOME"):
        Locations.find(None, None, {"HOME": "relative"})


def test_a_socket_that_others_could_replace_is_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    path = directory / "f.sock"
    check(path)
    path.write_text("no socket")
    with pytest.raises(UnsafeSocketError, match="no socket"):
        check(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        check(path)
        directory.chmod(0o777)
        with pytest.raises(UnsafeSocketError, match="mode 0777"):
            check(path)


def test_a_program_that_is_named_is_not_replaced(tmp_path: Path) -> None:
    program = tmp_path / "forerun"
    with pytest.raises(ProgramNotFoundError, match=str(program)):
        find_program(program, {})
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_program(None, {"FORERUN_BIN": str(program)}) == program


async def test_no_daemon_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="hint: start it with `forerun serve`"):
        await forerun.connect(f"unix://{tmp_path}/f.sock", spawn=False)


async def test_a_daemon_that_can_not_be_started_says_why(tmp_path: Path) -> None:
    program = tmp_path / "forerun"
    program.write_text("#!/bin/sh\necho 'no room left' >&2\nexit 70\n")
    program.chmod(0o755)
    with pytest.raises(StartFailedError, match="no room left"):
        await forerun.connect(f"unix://{tmp_path}/f.sock", program=program)


async def test_the_first_use_starts_the_daemon_and_the_next_finds_it(tmp_path: Path) -> None:
    state = tmp_path / "s"
    endpoint = f"unix://{state}/f.sock"
    async with forerun.connect(endpoint, state_dir=state) as daemon:
        first = await daemon.status()
        async with forerun.connect(endpoint, state_dir=state) as again:
            assert (await again.status()).pid == first.pid
        assert Path(first.state_dir) == state
        await daemon.shutdown()
