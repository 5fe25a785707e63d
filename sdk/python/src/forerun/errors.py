"""Every way in which a call fails, with a stable code and, where there is one, the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DOMAIN = "forerun"
_DETAILS = "grpc-status-details-bin"
_PASSING = frozenset({"SHUTTING_DOWN", "WATCHER_TOO_SLOW"})


class ForerunError(Exception):
    """A call failed. `code` is a stable name of the reason, `hint` says what to do, if known."""

    code: str = "FORERUN"
    hint: str | None = None

    def __str__(self) -> str:
        """Return what failed, and the hint on a line of its own."""
        message = super().__str__()
        return f"{message}\nhint: {self.hint}" if self.hint else message


class NotRunningError(ForerunError):
    """No daemon answers, and starting one is forbidden."""

    code = "DAEMON_NOT_RUNNING"
    hint = (
        "start it with `forerun serve`, or allow it to be started "
        "(spawn=False and FORERUN_NO_SPAWN forbid it)"
    )


class EndpointError(ForerunError):
    """The endpoint is not one that can be used."""

    code = "ENDPOINT_INVALID"
    hint = (
        "give an absolute path, as in FORERUN_ENDPOINT=unix:///run/user/1000/forerun/forerun.sock"
    )


class UnsafeSocketError(ForerunError):
    """What is at the socket's place belongs to somebody else, or could be replaced by them."""

    code = "SOCKET_UNSAFE"
    hint = "set FORERUN_ENDPOINT to a socket in a directory that only you can write to"


class ProgramNotFoundError(ForerunError):
    """The `forerun` program was not found."""

    code = "BINARY_NOT_FOUND"
    hint = "install forerun into a directory of PATH, or set FORERUN_BIN to its path"

    def __init__(self, looked_at: Sequence[Path]) -> None:
        """Name every place that was looked at."""
        places = ", ".join(str(path) for path in looked_at)
        super().__init__(f"the forerun program was not found: looked at {places}")
        self.looked_at = tuple(looked_at)


class StartFailedError(ForerunError):
    """The daemon was to be started, and was not."""

    code = "DAEMON_START_FAILED"


class UnreachableError(ForerunError):
    """The daemon could not be reached, or the connection broke."""

    code = "DAEMON_UNREACHABLE"
    hint = "`forerun status` says whether the daemon still runs"


class NoAnswerError(UnreachableError):
    """The daemon did not answer in time."""

    code = "DAEMON_SILENT"


class ClosedError(ForerunError):
    """The connection was closed by this program."""

    code = "CONNECTION_CLOSED"


class StalledError(ForerunError):
    """The session waits for its owner."""

    code = "SESSION_STALLED"


class ProtocolMismatchError(ForerunError):
    """The two sides speak different versions of the protocol."""

    code = "PROTOCOL_MISMATCH"
    hint = "`forerun shutdown` stops the daemon; the next call starts the installed one"


class InvalidMessageError(ForerunError):
    """The daemon sent something that this package can not read."""

    code = "DAEMON_MESSAGE_INVALID"


class ArgumentError(ForerunError, ValueError):
    """An argument can not be sent."""

    code = "ARGUMENT_INVALID"


class RefusedError(ForerunError):
    """The daemon refused the call; `code` is the reason, as in `proto/src/reason.rs`."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        metadata: Mapping[str, str],
        fields: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        """Made from what the daemon says."""
        said = [
            f"{name}: {problem}"
            for name, problem in fields
            if not (name in message and problem in message)
        ]
        super().__init__("; ".join([message, *said]))
        self.code = code
        self.hint = metadata.get("hint")
        self.fields = fields
        """Fields of the request that are not valid, by path, and what is wrong with each."""
        self.needed = metadata.get("needed")
        """The state that the call would have needed."""
        self.path = metadata.get("path")
        """The path in the workspace that is concerned."""
        self.retry_after = retry_after
        """Seconds to wait before trying again."""


def is_passing(error: ForerunError) -> bool:
    """Whether the same call may work in a moment without anybody doing anything."""
    if isinstance(error, NoAnswerError):
        return False
    return isinstance(error, UnreachableError | NotRunningError) or error.code in _PASSING


def from_grpc(error: grpc.aio.AioRpcError) -> ForerunError:
    """Return what an answer of the daemon means."""
    code = error.code()
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolMismatchError(
            "the daemon that runs does not know this call; it is of an earlier version"
        )
    message = error.details() or code.name
    info, fields, retry_after = _details(error)
    if info is None and code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return NoAnswerError("the daemon did not answer in time")
    # Codes that the transport makes when a connection breaks; the daemon never uses them
    # without ErrorInfo.
    if info is None and code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
    }:
        return UnreachableError(f"the daemon can not be reached: {message}")
    return RefusedError(
        info.reason if info else code.name,
        message,
        metadata=dict(info.metadata) if info else {},
        fields=fields,
        retry_after=retry_after,
    )


def _details(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo | None, tuple[tuple[str, str], ...], float | None]:
    """Read the google.rpc details of a status; what can not be read is as if it was not there."""
    info: error_details_pb2.ErrorInfo | None = None
    fields: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            found = error_details_pb2.ErrorInfo()
            if detail.Unpack(found) and found.domain == _DOMAIN:
                info = found
            request = error_details_pb2.BadRequest()
            if detail.Unpack(request):
                fields = tuple((each.field, each.description) for each in request.field_violations)
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(retry):
                retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return info, fields, retry_after
