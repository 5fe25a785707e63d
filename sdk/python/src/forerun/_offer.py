"""Offers tools to the daemon over a stream, and executes what is called.

Each call runs once and is answered by one message. A broken stream is not taken up again:
nobody could tell whether what was under way was done.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from forerun._read import read
from forerun._rpc import hear, heartbeat
from forerun._wire import common_pb2, tool_pb2
from forerun.errors import ForerunError
from forerun.values import Action, Observation, ObservationStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from forerun._rpc import Connection
    from forerun.tools import ClientTool

_LOG = logging.getLogger("forerun")

OFFER_TIMEOUT = 30.0
"""Seconds that the daemon may take to take an offer."""

_Request = tool_pb2.ToolServiceRegisterRequest


class Offer:
    """Tools that are offered for as long as its stream lasts."""

    def __init__(self, connection: Connection, token: str, tools: Sequence[ClientTool]) -> None:
        """Offer nothing yet: see `open`."""
        self.registration = ""
        """What it is known by."""
        self._connection = connection
        self._token = token
        self._tools = {tool.name: tool for tool in tools}
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._outgoing: asyncio.Queue[_Request | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the offer. Raises `ForerunError` if it is not taken."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(taken), name="forerun-offer")
        try:
            await taken
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Withdraw the tools; what is under way is cancelled."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, taken: asyncio.Future[None]) -> None:
        try:
            await self._serve(taken)
        except ForerunError as error:
            if taken.done():
                _LOG.warning("the tools %s are not there any more: %s", [*self._tools], error)
            else:
                taken.set_exception(error)
        finally:
            for call in self._calls.values():
                call.cancel()
            if not taken.done():
                taken.cancel()

    async def _serve(self, taken: asyncio.Future[None]) -> None:
        offer = tool_pb2.ToolOffer(tools=[_describe(tool) for tool in self._tools.values()])
        self._outgoing.put_nowait(_Request(offer=offer))
        stream = self._connection.converse(
            "ToolService/Register",
            self._drain(),
            tool_pb2.ToolServiceRegisterResponse,
            self._token,
        )
        silence = OFFER_TIMEOUT
        beat: asyncio.Task[None] | None = None
        try:
            async with aclosing(stream):
                while True:
                    message = await hear(stream, silence)
                    match message.WhichOneof("message"):
                        case "registered" if not taken.done():
                            every = heartbeat(message.registered.heartbeat_ms)
                            silence = 3 * every
                            beat = asyncio.create_task(self._beat(every))
                            self.registration = message.registered.registration
                            taken.set_result(None)
                        case "call":
                            self._start(message.call)
                        case "cancel" if message.cancel.call in self._calls:
                            self._calls.pop(message.cancel.call).cancel()
                        case _:
                            # A heartbeat was heard; another kind is of a later version.
                            pass
        finally:
            self._outgoing.put_nowait(None)
            if beat is not None:
                beat.cancel()

    def _start(self, call: tool_pb2.ToolCall) -> None:
        task = asyncio.create_task(self._answer(call))
        # A task may be done before it is returned.
        if not task.done():
            self._calls[call.call] = task

    async def _answer(self, call: tool_pb2.ToolCall) -> None:
        action = read(Action, call.action)
        tool = self._tools.get(action.tool)
        if tool is None:
            observation = Observation(ObservationStatus.TOOL_ERROR, "it is not offered")
        else:
            try:
                observation = await tool.observe(dict(action.arguments))
            finally:
                self._calls.pop(call.call, None)
        answer = tool_pb2.ToolAnswer(call=call.call, observation=_to_wire(observation))
        self._outgoing.put_nowait(_Request(answer=answer))

    async def _beat(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self._outgoing.put_nowait(_Request(heartbeat=tool_pb2.ToolHeartbeat()))

    async def _drain(self) -> AsyncIterator[_Request]:
        while (message := await self._outgoing.get()) is not None:
            yield message


def _describe(tool: ClientTool) -> common_pb2.ToolDescription:
    return common_pb2.ToolDescription(
        name=tool.name,
        description=tool.description,
        input_schema=json.dumps(tool.schema),
        annotations=common_pb2.Annotations(read_only=tool.pure),
        speculation=common_pb2.SPECULATION_PURE if tool.pure else common_pb2.SPECULATION_NEVER,
    )


def _to_wire(observation: Observation) -> common_pb2.Observation:
    is_error = observation.status is ObservationStatus.TOOL_ERROR
    return common_pb2.Observation(
        status=common_pb2.OBSERVATION_STATUS_TOOL_ERROR
        if is_error
        else common_pb2.OBSERVATION_STATUS_SUCCESS,
        text=observation.text,
        structured=observation.structured,
    )
