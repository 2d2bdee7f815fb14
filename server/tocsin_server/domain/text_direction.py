"""Characters that turn the direction in which a text is shown."""

from __future__ import annotations

import re

# Embeddings, overrides and isolates (Unicode UAX 9). The marks U+200E, U+200F and U+061C turn nothing that follows, and
# Arabic and Hebrew texts need them.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def turns(text: str) -> bool:
    """Whether what stands behind it could be shown backwards: "photo\u202egnp.exe"."""
    return _TURNING.search(text) is not None


def unturned(text: str) -> str:
    """The text without those characters."""
    return _TURNING.sub("", text)
