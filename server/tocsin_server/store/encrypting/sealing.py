"""How one value is sealed: AES-256-GCM with a random nonce, bound to the place where it belongs.

    mark 0 | binding | key id, 4 bytes | nonce, 12 bytes | ciphertext and tag

What is authenticated beside it: the format, the binding, the field, the queue, and the name of what it belongs to. So a
value that somebody with access to the store puts elsewhere, into another job or another field, opens nowhere. Binding
OWN is to the job, note or schedule itself. Binding OF_SCHEDULE is to the schedule that makes the job: such a payload
stands in the schedule, and goes from there, as it is, into each of its jobs. Binding OF_KEY is to the type and the key
of a job that collapses (JobSpec.collapse): which job of that key such a payload comes to is known in the store alone.
"""

from __future__ import annotations

import binascii
import os
from base64 import b64decode, b64encode
from collections.abc import Callable

from cryptography.exceptions import InvalidTag

from tocsin_server.domain.errors import CannotDecrypt, KeyMissing
from tocsin_server.domain.sealed import ADDED_BYTES, HEADER_BYTES, PREFIX, is_sealed
from tocsin_server.store.encrypting.keyring import Key, LiveKeyring

OWN, OF_SCHEDULE, OF_KEY = 1, 2, 3
_FORMAT = b"tocsin 1"
_NONCE = 12
_KEY_ID = slice(2, 6)
_NOT_SEALED = "it is not what was stored: a value that this server has not sealed, or one that was altered or moved"


def seal(key: Key, field: str, queue: str, name: str, clear: bytes, binding: int = OWN) -> bytes:
    """A sealed value. `field` says which of the fields of what is called `name` in the queue it is."""
    nonce = os.urandom(_NONCE)
    header = b"\0%c%s" % (binding, bytes.fromhex(key.key_id))
    return header + nonce + key.cipher.encrypt(nonce, clear, _bound_to(binding, field, queue, name))


def nonces(number: int) -> list[bytes]:
    """So many random nonces, each for one use."""
    random = os.urandom(_NONCE * number)
    return [random[at : at + _NONCE] for at in range(0, _NONCE * number, _NONCE)]


def sealing(key: Key, field: str, queue: str) -> Callable[[bytes, str, bytes], bytes]:
    """`seal` of one field for many names in a queue, in the least time: of a nonce, a name and a clear value."""
    encrypt, header = key.cipher.encrypt, b"\0%c%s" % (OWN, bytes.fromhex(key.key_id))
    bound = _bound_to(OWN, field, queue, "")

    def seal_one(nonce: bytes, name: str, clear: bytes) -> bytes:
        return header + nonce + encrypt(nonce, clear, bound + name.encode())

    return seal_one


def open_sealed(keys: LiveKeyring, field: str, queue: str, name: str, sealed: bytes) -> bytes:
    """The clear value. KeyMissing, CannotDecrypt."""
    binding = sealed[1] if len(sealed) >= ADDED_BYTES and is_sealed(sealed) else 0
    if binding == OF_SCHEDULE:
        bound = _bound_to(binding, field, queue, name.rpartition("@")[0])
    elif binding in (OWN, OF_KEY):
        bound = _bound_to(binding, field, queue, name)
    else:
        raise CannotDecrypt(queue, name, field, _NOT_SEALED)
    key_id = sealed[_KEY_ID].hex()
    if (key := keys.key(key_id)) is None:
        raise KeyMissing(queue, name, field, key_id)
    try:
        return key.cipher.decrypt(sealed[6:HEADER_BYTES], sealed[HEADER_BYTES:], bound)
    except InvalidTag:
        raise CannotDecrypt(queue, name, field, _NOT_SEALED) from None


def _bound_to(binding: int, field: str, queue: str, name: str) -> bytes:
    # None of them holds a zero byte but a name, which comes last.
    return b"%s\0%c\0%s\0%s\0%s" % (_FORMAT, binding, field.encode(), queue.encode(), name.encode())


def key_of(sealed: bytes) -> str:
    """The id of the key that sealed a value."""
    return sealed[_KEY_ID].hex()


def as_text(sealed: bytes) -> str:
    """A sealed value where a text belongs."""
    return PREFIX + b64encode(sealed).decode()


def from_text(text: str) -> bytes | None:
    """The sealed value in a text; None where it is a clear one."""
    if not text.startswith(PREFIX):
        return None
    try:
        sealed = b64decode(text[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):  # a clear text that begins so
        return None
    return sealed if len(sealed) >= ADDED_BYTES and is_sealed(sealed) else None
