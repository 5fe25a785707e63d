"""One connection to the daemon: calls and streams of the protocol, with their errors.

Calls are made by name, with the messages' own classes, so that no stub is needed. The
authority is `localhost`: grpcio's own choice for a Unix socket, its path, is none to the daemon.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from forerun._endpoint import check
from forerun._wire import daemon_pb2
from forerun.errors import (
    ClosedError,
    ForerunError,
    ProtocolMismatchError,
    UnreachableError,
    from_grpc,
    is_passing,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    Metadata = tuple[tuple[str, str | bytes], ...]

Answer = TypeVar("Answer", bound=Message)

PROTOCOL = (1, 0)
"""The version of the protocol that this package speaks: major, minor."""
MESSAGE_BYTES_MAX = 64 << 20
"""Longest message that is read; stops a peer from filling memory."""
_RECONNECT_WAIT = 0.1
"""Seconds after a broken connection until a call is made again."""
HEARTBEAT_MIN, HEARTBEAT_MAX = 0.05, 60.0
"""Bounds of the heartbeat that the daemon asks for, in seconds; three times as long is silence."""
CALL_TIMEOUT = 60.0
"""Seconds that a call may take which waits for nobody but the daemon."""
_CLOSED = "the connection was closed"
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    # Also how long a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Two connections to two daemons at one path, one after the other, are two.
    ("grpc.use_local_subchannel_pool", 1),
)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def bearer(token: str | None) -> Metadata:
    """Return the metadata for a token."""
    return (("authorization", f"Bearer {token}"),) if token is not None else ()


class Connection:
    """A channel to the daemon, which connects when it is used, and again when it breaks."""

    def __init__(self, socket: Path) -> None:
        """Touches nothing yet. Raises `UnsafeSocketError` if the socket is not ours alone."""
        check(socket)
        self._socket = socket
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self._closed = False

    async def close(self) -> None:
        """Close it; what is under way fails with `ClosedError`."""
        self._closed = True
        await self._channel.close()

    async def call(  # noqa: PLR0913
        self,
        method: str,
        request: Message,
        answer: type[Answer],
        token: str | None = None,
        *,
        timeout: float | None = CALL_TIMEOUT,  # noqa: ASYNC109
        again: bool = True,
    ) -> Answer:
        """Call `Service/Method`, `again` after a broken connection.

        Then the request has to be safe to make twice, by its nature or an idempotency key.
        Raises `ForerunError`.
        """
        try:
            return await self._call_once(method, request, answer, token, timeout)
        except ForerunError as error:
            if not (again and is_passing(error)):
                raise
        await asyncio.sleep(_RECONNECT_WAIT)
        return await self._call_once(method, request, answer, token, timeout)

    async def _call_once(
        self,
        method: str,
        request: Message,
        answer: type[Answer],
        token: str | None,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Answer:
        with self._told(token):
            call = self._channel.unary_unary(
                f"/forerun.v1.{method}",
                request_serializer=_serialize,
                response_deserializer=answer.FromString,
            )
            return await call(request, metadata=bearer(token), timeout=timeout)

    async def watch(
        self, method: str, request: Message, answer: type[Answer], token: str
    ) -> AsyncGenerator[Answer, None]:
        """Give the answers of a streaming call. Raises `ForerunError` when it breaks."""
        with self._told(token):
            call = self._channel.unary_stream(
                f"/forerun.v1.{method}",
                request_serializer=_serialize,
                response_deserializer=answer.FromString,
            )
            async with aclosing(_messages(call(request, metadata=bearer(token)))) as messages:
                async for message in messages:
                    yield message

    async def converse(
        self,
        method: str,
        requests: AsyncIterator[Message],
        answer: type[Answer],
        token: str,
    ) -> AsyncGenerator[Answer, None]:
        """Give the answers to a stream of requests. Raises `ForerunError` when it breaks."""
        with self._told(token):
            call = self._channel.stream_stream(
                f"/forerun.v1.{method}",
                request_serializer=_serialize,
                response_deserializer=answer.FromString,
            )
            async with aclosing(_messages(call(requests, metadata=bearer(token)))) as messages:
                async for message in messages:
                    yield message

    async def status(self) -> daemon_pb2.DaemonServiceStatusResponse:
        """Ask the daemon what it is. Raises `ProtocolMismatchError` if it is of another major."""
        status = await self._call_once(
            "DaemonService/Status",
            daemon_pb2.DaemonServiceStatusRequest(),
            daemon_pb2.DaemonServiceStatusResponse,
            None,
            CALL_TIMEOUT,
        )
        require_protocol(status.protocol.major, status.protocol.minor)
        return status

    @contextmanager
    def _told(self, token: str | None) -> Iterator[None]:
        """Send no token to a socket that is not ours any more; tell errors as our own."""
        if self._closed:
            raise ClosedError(_CLOSED)
        if token is not None:
            check(self._socket)
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from None
        except grpc.aio.UsageError:
            raise ClosedError(_CLOSED) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # gRPC cancels what is under way when its channel is closed.
            if self._closed and task is not None and not task.cancelling():
                raise ClosedError(_CLOSED) from None
            raise


async def _messages(
    stream: grpc.aio.UnaryStreamCall[Message, Answer] | grpc.aio.StreamStreamCall[Message, Answer],
) -> AsyncGenerator[Answer, None]:
    """Give the messages of a stream, which ends with whoever reads them."""
    try:
        async for message in stream:
            yield message
    finally:
        stream.cancel()


async def hear(stream: AsyncGenerator[Answer, None], silence: float) -> Answer:
    """Return the daemon's next message on a stream that it never ends without one.

    Raises `UnreachableError` if it is silent for so many seconds, or ends the stream.
    """
    try:
        return await asyncio.wait_for(anext(stream), silence)
    except TimeoutError:
        problem = "the daemon went silent"
    except StopAsyncIteration:
        problem = "the daemon ended the stream"
    raise UnreachableError(problem)


def heartbeat(wanted_ms: int) -> float:
    """Return how often to say that this side is alive, in seconds, within sensible bounds."""
    return min(max(wanted_ms / 1_000, HEARTBEAT_MIN), HEARTBEAT_MAX)


def require_protocol(major: int, minor: int) -> None:
    """Refuse a daemon of another major version. Raises `ProtocolMismatchError`."""
    if major != PROTOCOL[0]:
        ours = ".".join(map(str, PROTOCOL))
        message = f"the daemon speaks protocol {major}.{minor}, this program speaks {ours}"
        raise ProtocolMismatchError(message)
