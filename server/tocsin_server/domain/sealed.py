"""What a sealed (encrypted) value looks like to those who keep it, so that they can tell it from a clear one.

A sealed value is HEADER_BYTES of how it was sealed, the ciphertext, as long as the clear value, and a tag; a sealed
text is the same in base64 behind PREFIX. How values are sealed stands in store/encrypting.
"""

from __future__ import annotations

from tocsin_server.domain import limits

#: The kind of a payload that is sealed; its own kind is the first clear byte. No field of JobSpec has this number.
KIND = 254
#: What a sealed value begins with, and no message of Protocol Buffers and no JSON: so of a result or a note it says
#: that it is sealed. What else each of them says stands in store/encrypting/sealing.py.
HEADS = (b"\0\1", b"\0\2", b"\0\3")
PREFIX = "sealed:"
_PREFIX = PREFIX.encode()
#: Mark, binding, key id, nonce.
HEADER_BYTES = 1 + 1 + 4 + 12
TAG_BYTES = 16
#: So much longer than a clear value a sealed one is.
ADDED_BYTES = HEADER_BYTES + TAG_BYTES
_LONGEST_LINE = len(PREFIX) + -(-(limits.LOG_LINE_BYTES + ADDED_BYTES) // 3) * 4


def is_sealed(value: bytes) -> bool:
    """Whether a result or a note is sealed."""
    return value.startswith(HEADS)


def clear_size(value: bytes) -> int:
    """Bytes of a result or a note when it is clear."""
    return len(value) - ADDED_BYTES if is_sealed(value) else len(value)


def clear_text_size(text: bytes) -> int:
    """Bytes of a text, given in UTF-8, when it is clear. lua/lib/logs.lua does the same."""
    if not text.startswith(_PREFIX):
        return len(text)
    padding = len(text) - len(text.rstrip(b"="))
    return max(0, (len(text) - len(_PREFIX)) // 4 * 3 - padding - ADDED_BYTES)


def is_sealed_line(text: str) -> bool:
    """Whether it is a line of log that was cut before it was sealed, and must not be cut again."""
    return text.startswith(PREFIX) and len(text) <= _LONGEST_LINE and text.isascii()


def payload_size(kind: int, body: bytes) -> int:
    """Bytes of a payload's body when it is clear."""
    return len(body) - ADDED_BYTES - 1 if kind == KIND else len(body)
