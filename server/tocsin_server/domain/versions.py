"""Versions of workers, compared number by number."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"\d+")
_AFTER_NUMBERS = re.compile(r"[-+_]")


def at_least(version: str, lowest: str) -> bool:
    """Whether a worker's version is not below another: "2.11" is above "2.9.4", and as high as "2.11.0".

    Number by number; what stands after a "-", "+" or "_" says nothing. No version at all is below any other.
    """
    return _numbers(version) >= _numbers(lowest)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in _NUMBERS.findall(_AFTER_NUMBERS.split(version, maxsplit=1)[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
