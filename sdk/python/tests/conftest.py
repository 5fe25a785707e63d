"""A real daemon for every test that asks for one, and a connection that can be broken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from forerun.testing import private_daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from forerun import Forerun


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Forerun]:
    async with private_daemon() as daemon:
        yield daemon


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "there.txt").write_text("there\n")
    return directory


class Proxy:
    """Passes bytes between a socket of its own and another one, until it is told not to."""

    def __init__(self, target: Path, socket: Path) -> None:
        self.target = target
        self.socket = socket
        self.connections = 0
        self.delay = 0.0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._accept, self.socket)

    def break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await asyncio.sleep(self.delay)
        there, back = await asyncio.open_unix_connection(self.target)
        self._writers += [writer, back]
        await asyncio.gather(_pass(reader, back), _pass(there, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest_asyncio.fixture
async def proxy(daemon: Forerun, tmp_path: Path) -> AsyncIterator[Proxy]:
    target = (await daemon.status()).endpoint.removeprefix("unix://")
    proxy = Proxy(tmp_path.joinpath(target), tmp_path / "p.sock")
    server = await proxy.serve()
    yield proxy
    server.close()
    proxy.break_all()
