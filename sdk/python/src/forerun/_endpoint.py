"""Where the daemon listens, whether that is safe to use, and how it is started.

The order of places is the same in every SDK and on the command line. Starting is left to the
program, which does it under a lock, detached, with a log.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forerun.errors import (
    EndpointError,
    ProgramNotFoundError,
    StartFailedError,
    UnsafeSocketError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH_BYTES_MAX = 107
"""Longest path of a Unix socket that the system takes (`sun_path` less its zero)."""
LISTENS_TIMEOUT = 5.0
"""Seconds that a busy listener may take to be connected to."""
PROGRAM = "forerun"
"""The program's name."""
_NOT_THE_DAEMONS = frozenset({"FORERUN_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"})
"""Secrets of ours that a daemon that we start has no use for."""


@dataclass(frozen=True, slots=True)
class Locations:
    """Where the daemon of this user listens, and where it keeps its state."""

    socket: Path
    state_dir: Path

    @staticmethod
    def find(
        endpoint: str | None, state_dir: Path | None, environment: Mapping[str, str]
    ) -> Locations:
        """Find them: what was given, then the environment, then the customary places.

        `endpoint` > `FORERUN_ENDPOINT` > `$XDG_RUNTIME_DIR/forerun/forerun.sock` > the state
        directory; `state_dir` > `FORERUN_STATE_DIR` > `$XDG_STATE_HOME/forerun` >
        `~/.local/state/forerun`. As the XDG specification wants, a relative path counts as not
        set. Raises `EndpointError`.
        """

        def directory(name: str, *below: str) -> Path | None:
            path = Path(environment.get(name) or ".")
            return path.joinpath(*below) if path.is_absolute() else None

        state = (
            (state_dir.absolute() if state_dir else None)
            or directory("FORERUN_STATE_DIR")
            or directory("XDG_STATE_HOME", "forerun")
            or directory("HOME", ".local/state/forerun")
        )
        if state is None:
            message = "no state directory is known: neither XDG_STATE_HOME nor HOME is absolute"
            error = EndpointError(message)
            error.code, error.hint = "NO_HOME", "set HOME, or FORERUN_STATE_DIR"
            raise error
        named = endpoint or environment.get("FORERUN_ENDPOINT")
        if named:
            path = named.removeprefix("unix://")
            if not path.startswith("/") or path.endswith("/"):
                message = f"the endpoint {named!r} is not of the form unix:///path/to/socket"
                raise EndpointError(message)
            place = Path(path)
        else:
            place = (
                directory("XDG_RUNTIME_DIR", "forerun", "forerun.sock") or state / "forerun.sock"
            )
        if len(os.fsencode(place)) > SOCKET_PATH_BYTES_MAX:
            message = f"the socket path {place} has more than {SOCKET_PATH_BYTES_MAX} bytes"
            error = EndpointError(message)
            error.code, error.hint = "ENDPOINT_TOO_LONG", "set FORERUN_ENDPOINT to a shorter path"
            raise error
        return Locations(place, state)


def check(path: Path) -> None:
    """Check that the socket, if it is there, and its directory can be replaced by nobody else.

    Raises `UnsafeSocketError`.
    """
    try:
        directory = path.parent.stat()
        if directory.st_uid != os.geteuid():
            raise _unsafe(path.parent, f"it belongs to user {directory.st_uid}")
        if directory.st_mode & 0o022:
            mode = stat.S_IMODE(directory.st_mode)
            raise _unsafe(path.parent, f"others can write to it (mode {mode:04o})")
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        message = f"{path} can not be looked at: {error}"
        raise EndpointError(message) from error
    if not stat.S_ISSOCK(found.st_mode):
        raise _unsafe(path, "it is no socket")
    if found.st_uid != os.geteuid():
        raise _unsafe(path, f"it belongs to user {found.st_uid}")


def _unsafe(path: Path, problem: str) -> UnsafeSocketError:
    return UnsafeSocketError(f"{path} is not safe to connect to: {problem}")


def listens(path: Path) -> bool:
    """Whether somebody listens on the socket. Raises `UnsafeSocketError` if it is another user."""
    check(path)
    with socket.socket(socket.AF_UNIX) as connection:
        # As many as wait there may: it is busy, not gone.
        connection.settimeout(LISTENS_TIMEOUT)
        try:
            connection.connect(str(path))
        except TimeoutError:
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            message = f"{path} can not be connected to: {error}"
            raise EndpointError(message) from error
        size = struct.calcsize("3i")
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _pid, user, _group = struct.unpack("3i", found)
    if user != os.geteuid():
        raise _unsafe(path, f"user {user} listens there")
    return True


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a daemon that we start."""
    return {key: value for key, value in environment.items() if key not in _NOT_THE_DAEMONS}


def find_program(given: Path | None, environment: Mapping[str, str]) -> Path:
    """Find the program: given > `FORERUN_BIN` > this package's > `PATH`.

    Raises `ProgramNotFoundError`.
    """
    named = given or environment.get("FORERUN_BIN")
    if named:
        candidates = [Path(named)]
    else:
        path = environment.get("PATH", "").split(os.pathsep)
        candidates = [
            Path(directory) / PROGRAM
            for directory in [
                sysconfig.get_path("scripts"),
                str(Path(sys.executable).parent),
                *path,
            ]
            # A program must not depend on where it was started.
            if Path(directory).is_absolute()
        ]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    raise ProgramNotFoundError(candidates)


async def start(program: Path, locations: Locations, environment: Mapping[str, str]) -> None:
    """Have the program start the daemon, or find the one that somebody else is starting.

    Raises `StartFailedError`.
    """
    starting = await asyncio.create_subprocess_exec(
        program,
        "--json",
        "--endpoint",
        f"unix://{locations.socket}",
        "socket",
        "--start",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**without_secrets(environment), "FORERUN_STATE_DIR": str(locations.state_dir)},
        start_new_session=True,
    )
    _, said = await starting.communicate()
    if starting.returncode != 0:
        raise _start_failed(said.decode(errors="replace"))


def _start_failed(said: str) -> StartFailedError:
    try:
        told = json.loads(said.strip().splitlines()[-1])["error"]
        error = StartFailedError(told["message"])
        error.code, error.hint = told["code"], told.get("hint")
    except (ValueError, LookupError, TypeError):
        error = StartFailedError(f"the daemon did not start: {said.strip()}")
    return error
