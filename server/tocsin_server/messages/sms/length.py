"""How long a text message is, as networks count and bill it.

GSM 03.38 (3GPP TS 23.038): a message has 140 bytes. In the 7-bit alphabet that is 160 units, a character of its
extension table taking two; any other character makes the whole text UCS-2, 70 units of 16 bits. Longer texts are cut
into segments, each of which loses 6 bytes to a header that numbers it: 153 units, or 67. What takes two units is never
cut in two, so a segment may be one unit short.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class Length:
    """How long a text is."""

    encoding: str  # "GSM-7" or "UCS-2"
    units: int  # 7-bit characters, or 16-bit units
    segments: int  # messages that are billed; 0 for an empty text


def length_of(text: str) -> Length:
    """The length of a text message."""
    if _BASIC.issuperset(text) or _BASIC.union(_EXTENDED).issuperset(text):
        return _length("GSM-7", [2 if character in _EXTENDED else 1 for character in text], 160, 153)
    return _length("UCS-2", [2 if ord(character) > 0xFFFF else 1 for character in text], 70, 67)


def _length(encoding: str, sizes: list[int], alone: int, among_others: int) -> Length:
    units = sum(sizes)
    return Length(encoding, units, min(units, 1) if units <= alone else _segments(sizes, among_others))


def _segments(sizes: Iterable[int], most: int) -> int:
    segments, filled = 1, 0
    for size in sizes:
        if filled + size > most:
            segments, filled = segments + 1, 0
        filled += size
    return segments
