"""Reads messages of the protocol into values: the one place where wire types end.

A value is a dataclass whose fields have the names of the message's, or name it in their
metadata (`values.seconds`). What they are is told by their types.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from forerun.errors import InvalidMessageError
from forerun.values import Action

if TYPE_CHECKING:
    from google.protobuf.message import Message

Value = TypeVar("Value")

_UNITS = {"_us": 1_000_000, "_ms": 1_000}


def read(cls: type[Value], message: Message, **extra: object) -> Value:
    """Return the value that a message says; `extra` are fields that it does not have.

    Raises `InvalidMessageError`, which names the field, if it says none.
    """
    if cls is Action:
        return _action(message)  # type: ignore[return-value]
    values = {
        name: _field(hint, message.DESCRIPTOR.fields_by_name[wire], message)
        for name, wire, hint in _shape(cls)  # type: ignore[arg-type]
    }
    return cls(**values, **extra)


@cache
def _shape(cls: type[Any]) -> tuple[tuple[str, str, Any], ...]:
    """Fields of a value: name, name on the wire, type."""
    hints = get_type_hints(cls)
    return tuple(
        (each.name, each.metadata.get("wire", each.name), hints[each.name])
        for each in fields(cls)
        if each.metadata.get("wire", "") is not None
    )


def _field(hint: Any, descriptor: Any, message: Message) -> Any:  # noqa: ANN401
    optional = get_origin(hint) in {Union, UnionType} and NoneType in get_args(hint)
    if optional:
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if optional and descriptor.has_presence and not message.HasField(descriptor.name):
        return None
    value = getattr(message, descriptor.name)
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], descriptor, each) for each in value)
    if optional and descriptor.enum_type is not None and value == 0:
        return None
    if hint is float:
        return value / _UNITS[descriptor.name[-3:]]
    return _value(hint, descriptor, value)


def _value(hint: Any, descriptor: Any, value: Any) -> Any:  # noqa: ANN401
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enumeration(hint, descriptor, value)
    return read(hint, value) if isinstance(hint, type) and is_dataclass(hint) else value


def _enumeration(hint: type[StrEnum], descriptor: Any, number: int) -> StrEnum:  # noqa: ANN401
    """`OBSERVATION_STATUS_TOOL_ERROR` of the enum `ObservationStatus` is `tool_error`."""
    enum = descriptor.enum_type
    found = enum.values_by_number.get(number) if enum is not None else None
    if enum is None or found is None or number == 0:
        message = f"the daemon sent an invalid {descriptor.full_name}: unknown value {number}"
        raise InvalidMessageError(message)
    return hint(found.name.removeprefix(f"{snake(enum.name).upper()}_").lower())


def _action(message: Message) -> Action:
    text: str = message.arguments  # type: ignore[attr-defined]
    try:
        arguments = json.loads(text)
    except ValueError as error:
        problem = f"the daemon sent arguments that are no JSON: {error}"
        raise InvalidMessageError(problem) from error
    return Action(message.tool, arguments)  # type: ignore[attr-defined]


def snake(name: str) -> str:
    """`PathChange` is `path_change`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
