"""Functions of a program as tools of its sessions.

A function becomes a tool with a JSON Schema from its signature. It runs in the program, in no
sandbox: policy treats it as what reaches beyond the workspace. It is not called before its
verdict, unless it is declared to be pure, and policy allows that.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from forerun._threads import in_thread
from forerun.errors import ArgumentError
from forerun.values import Observation, ObservationStatus

ToolFunction: TypeAlias = Callable[..., object]
"""A function, or a coroutine function, that returns what JSON can say; the first is called in a
thread."""

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    list: {"type": "array"},
    Any: {},
}


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A function as a tool; see `tool`."""

    function: ToolFunction
    name: str
    description: str
    schema: dict[str, Any]
    pure: bool

    async def observe(self, arguments: dict[str, Any]) -> Observation:
        """Call the function. What it raises is the tool's error."""
        try:
            if inspect.iscoroutinefunction(self.function):
                returned = await self.function(**arguments)
            else:
                returned = await in_thread(self.function, **arguments)
            if isinstance(returned, str):
                return Observation(ObservationStatus.SUCCESS, sayable(returned))
            text = json.dumps(returned, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - whatever it was, the agent is told
            said = sayable(f"{type(error).__name__}: {error}")
            return Observation(ObservationStatus.TOOL_ERROR, said)
        return Observation(ObservationStatus.SUCCESS, text, structured=text)


def sayable(text: str) -> str:
    """Return a text without what none can have, such as half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    schema: dict[str, Any] | None = None,
    pure: bool = False,
) -> Callable[[ToolFunction], ClientTool]:
    """Decorate a function that is to be a tool, to say what its signature does not.

    `name`: the function's, otherwise; `description`: its docstring, which a model reads: what
    it does, when to use it; `schema`: JSON Schema of the arguments, of its parameters
    otherwise; `pure`: it changes nothing at all, so that policy may let it run ahead.
    A plain function is a tool, too. Raises `ArgumentError` if it can not be one.
    """

    def decorate(function: ToolFunction) -> ClientTool:
        called = str(name or getattr(function, "__name__", ""))
        if not re.fullmatch(r"[a-z0-9_]{1,64}", called):
            message = f"{called!r} is no name of a tool: lower-case letters, digits and _ only"
            raise ArgumentError(message)
        return ClientTool(
            function=function,
            name=called,
            description=description or inspect.getdoc(function) or "",
            schema=_schema_of(function) if schema is None else schema,
            pure=pure,
        )

    return decorate


def as_tool(given: ClientTool | ToolFunction) -> ClientTool:
    """Return what was given as a tool. Raises `ArgumentError` if it can not be one."""
    return given if isinstance(given, ClientTool) else tool()(given)


def _schema_of(function: ToolFunction) -> dict[str, Any]:
    """Return the JSON Schema of a function's parameters."""
    hints = get_type_hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY}:
            message = f"the parameter {parameter.name} can not be given by name"
            raise ArgumentError(message)
        if parameter.kind is parameter.VAR_KEYWORD:
            message = f"**{parameter.name} says nothing of the arguments: give a schema"
            raise ArgumentError(message)
        properties[parameter.name] = _schema(hints.get(parameter.name, Any), parameter.name)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(hint: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    """Return the JSON Schema of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    if origin is Literal:
        return {"enum": list(inner)}
    if isinstance(hint, type) and issubclass(hint, Enum) and issubclass(hint, str):
        return {"enum": [value.value for value in hint]}
    if origin is list:
        return {"type": "array", "items": _schema(inner[0], name)}
    if origin is dict:
        return {"type": "object"}
    if origin in {Union, UnionType} and NoneType in inner:
        others = [each for each in inner if each is not NoneType]
        if len(others) == 1:
            found = _schema(others[0], name)
            if isinstance(found.get("type"), str):
                return {**found, "type": [found["type"], "null"]}
    message = f"the type of {name}, {hint!r}, has no JSON Schema here: give a schema"
    raise ArgumentError(message)
