"""Values say what the protocol says, whatever is added to it."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pool

from forerun import events, values
from forerun._read import read, snake
from forerun._wire import common_pb2, event_pb2
from forerun.errors import InvalidMessageError

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

KINDS = event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields


@pytest.mark.parametrize("kind", [field.name for field in KINDS])
def test_every_event_is_a_class_with_all_that_it_says(kind: str) -> None:
    by_name: dict[str, Any] = {snake(cls.__name__): cls for cls in events.Event.__subclasses__()}
    message = event_pb2.Event.DESCRIPTOR.fields_by_name[kind].message_type
    assert message is not None
    names = {each.metadata.get("wire", each.name) for each in fields(by_name[kind])}
    assert names - {None} == {field.name for field in message.fields}


def test_there_is_no_event_that_the_daemon_never_sends() -> None:
    sent = {field.name for field in KINDS}
    assert {snake(cls.__name__) for cls in events.Event.__subclasses__()} == sent


def enumerations() -> list[type[StrEnum]]:
    found = [*vars(values).values(), *vars(events).values()]
    known = {each for each in found if isinstance(each, type) and issubclass(each, StrEnum)}
    return sorted(known - {StrEnum, values.Finish}, key=lambda each: each.__name__)


def described(name: str) -> EnumDescriptor:
    found: EnumDescriptor = descriptor_pool.Default().FindEnumTypeByName(f"forerun.v1.{name}")
    return found


@pytest.mark.parametrize("cls", enumerations(), ids=lambda cls: cls.__name__)
def test_every_enumeration_has_the_values_of_the_protocol(cls: type[StrEnum]) -> None:
    prefix = f"{snake(cls.__name__).upper()}_"
    names = {value.name.removeprefix(prefix).lower() for value in described(cls.__name__).values}
    assert {str(value) for value in cls} == names - {"unspecified"}


def test_what_can_not_be_read_names_the_field() -> None:
    observation = common_pb2.Observation(text="no status")
    with pytest.raises(InvalidMessageError, match=r"Observation\.status"):
        read(values.Observation, observation)
    with pytest.raises(InvalidMessageError, match="no JSON"):
        read(values.Action, common_pb2.Action(tool="t", arguments="{"))


def test_integers_of_any_size_survive() -> None:
    action = read(values.Action, common_pb2.Action(tool="t", arguments='{"n": 9007199254740993}'))
    assert action.arguments["n"] == 9007199254740993
    assert action.to_json() == '{"n": 9007199254740993}'
