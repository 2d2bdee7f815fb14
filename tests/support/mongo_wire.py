"""What clients send to a MongoDB server, read by a proxy on the way: the wire protocol's OP_MSG, uncompressed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import bson

from support.tcp_proxy import Rewriting

Document = dict[str, Any]

_HEADER, _OP_MSG = 16, 2013
_BODY, _SEQUENCE = 0, 1  # kinds of sections


def command_of(piece: bytes) -> Document:
    """The command that begins this piece, with its `updates` or `documents`; {} where it is no whole command.

    A client that waits for each answer, as pymongo does, sends one command a piece, if it is small.
    """
    if len(piece) < _HEADER + 5:
        return {}
    length, _, _, operation = struct.unpack_from("<iiii", piece)
    if operation != _OP_MSG or length > len(piece):
        return {}
    command: Document = {}
    at = _HEADER + 4  # after the flags
    while at < length - 1:
        kind, size = piece[at], struct.unpack_from("<i", piece, at + 1)[0]
        section = piece[at + 1 : at + 1 + size]
        if kind == _BODY:
            command = {**bson.decode(section), **command}
        elif kind == _SEQUENCE:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
        else:
            return {}
        at += 1 + size
    return command


def asks(
    name: str, collection: str, about: Callable[[Document], bool] = lambda command: True
) -> Callable[[bytes], bool]:
    """Whether a piece is the command `name` on a collection, and `about` is true of it."""

    def wanted(piece: bytes) -> bool:
        command = command_of(piece)
        return command.get(name) == collection and about(command)

    return wanted


def sets(field: str, *values: object, by: str = "$set") -> Callable[[Document], bool]:
    """Whether an `update` sets this field of some document, to one of these values if there are any.

    by: the operator; updates by pipeline are not looked into.
    """

    def about(command: Document) -> bool:
        said = [update["u"].get(by, {}) for update in command["updates"] if isinstance(update["u"], dict)]
        return any(field in one and (not values or one[field] in values) for one in said)

    return about


#: What comes many in one command.
_STATEMENTS = ("documents", "updates", "deletes")


class StepDownInside(Rewriting):
    """A primary that steps down inside a command: its first `statements` are done, and the command fails all the same.

    What came first stands, as it does on a mongod, which says of no write then that it was not performed.
    then: done before the client hears of it, such as that the server really steps down.
    """

    def __init__(self, statements: int, then: Callable[[], object] = lambda: None) -> None:
        self._statements = statements
        self._then = then
        self._asked = 0  # the request's number, of which the reply is

    def request(self, piece: bytes) -> bytes:
        """The command without what comes after its first statements."""
        command = command_of(piece)
        kind = next(name for name in _STATEMENTS if name in command)
        self._asked = struct.unpack_from("<iiii", piece)[1]
        return _message({**command, kind: command[kind][: self._statements]}, number=self._asked)

    def reply(self) -> bytes:
        """InterruptedDueToReplStateChange."""
        self._then()
        refused = {"ok": 0.0, "code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "stepped down"}
        return _message({**refused, "errorLabels": ["RetryableWriteError"]}, answers=self._asked)


def _message(document: Document, *, number: int = 0, answers: int = 0) -> bytes:
    body = struct.pack("<iB", 0, _BODY) + bson.encode(document)
    return struct.pack("<iiii", _HEADER + len(body), number, answers, _OP_MSG) + body
