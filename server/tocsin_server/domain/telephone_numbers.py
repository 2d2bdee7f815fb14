"""Telephone numbers in E.164 form: "+", the country, the number, and nothing else."""

from __future__ import annotations

import re

# ITU-T E.164: 15 digits at most, and no country's code begins with 0. The shortest in use have 7.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")


def is_e164(text: str) -> bool:
    """Whether it is a number such as "+4915112345678"."""
    return _E164.match(text) is not None
