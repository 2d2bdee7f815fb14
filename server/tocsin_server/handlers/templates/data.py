"""What templates are filled with, as Python has it."""

from __future__ import annotations

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

_EXACT = 2**53  # above, a double no longer holds every whole number


def plain_data(data: Struct) -> dict[str, object]:
    """The values as Python has them; 3.0 becomes 3, as nobody wants to read "3.0 tickets"."""
    return {name: _whole(value) for name, value in MessageToDict(data).items()}


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case dict():
            return {name: _whole(inner) for name, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
    return value
