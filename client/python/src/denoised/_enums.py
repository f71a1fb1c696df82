"""Enumerators by the names that people give them: "karras" for SIGMA_SPACING_KARRAS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

_ZERO = "UNSPECIFIED"


def enum_name(enumeration: EnumDescriptor, number: int) -> str:
    """The short name of a number; empty for UNSPECIFIED and for one newer than this client."""
    value = enumeration.values_by_number.get(number)
    return "" if value is None or number == 0 else _short_name(enumeration, value.name)


def enum_number(enumeration: EnumDescriptor, name: str) -> int | None:
    """The number of a short name, in upper or lower case. None if there is no such name."""
    for value in enumeration.values:
        if value.number != 0 and _short_name(enumeration, value.name) == name.lower():
            return value.number
    return None


def enum_names(enumeration: EnumDescriptor) -> list[str]:
    """The short names, without that of UNSPECIFIED."""
    return [_short_name(enumeration, value.name) for value in enumeration.values if value.number]


def _short_name(enumeration: EnumDescriptor, name: str) -> str:
    # Not every enumerator has the prefix: QUEUED is one of `State`, whose zero is named by it.
    prefix = enumeration.values_by_number[0].name.removesuffix(_ZERO)
    return name.removeprefix(prefix).lower()
