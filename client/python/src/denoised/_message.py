"""Sets fields of messages by path, from the values that people give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from denoised._enums import enum_names, enum_number
from denoised.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.message import Message


def set_field(message: Message, path: str, value: Any) -> None:
    """Sets `message.guidance.scale` for the path "guidance.scale".

    Enumerators are short names, repeated fields take sequences.

    Raises:
        InvalidRequest: `value` is outside the range of the field's type, or no enumerator; or the
            request has another choice already where only one is possible.
        TypeError: `value` has the wrong type.
    """
    *parents, name = path.split(".")
    for parent in parents:
        _check_choice(message, parent, path)
        message = getattr(message, parent)
    _check_choice(message, name, path)
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.enum_type is not None:
        enumeration = cast("EnumDescriptor", field.enum_type)
        names = value if field.is_repeated else [value]
        numbers = [_number(enumeration, path, name) for name in names]
        value = numbers if field.is_repeated else numbers[0]
    try:
        if field.is_repeated:
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    except TypeError as error:
        raise TypeError(f"{path} cannot be {value!r}: {error}") from None
    except ValueError as error:
        raise invalid(path, f"{error}") from None


def invalid(path: str, description: str) -> InvalidRequest:
    """An error about one field that this client finds before it asks the server."""
    return InvalidRequest("", violations=[Violation(path, description)])


def _check_choice(message: Message, name: str, path: str) -> None:
    choice = message.DESCRIPTOR.fields_by_name[name].containing_oneof
    chosen = choice and message.WhichOneof(choice.name)
    if choice and chosen not in (None, name):
        raise invalid(path, f"excludes {path.partition('.')[0]}.{chosen}, which is given, too")


def _number(enumeration: EnumDescriptor, path: str, name: str) -> int:
    if not isinstance(name, str):
        raise TypeError(f"{path} must be a name, is {name!r}")
    number = enum_number(enumeration, name)
    if number is None:
        raise invalid(path, f'"{name}" is none of {", ".join(enum_names(enumeration))}')
    return number
