"""The ACL user of docs/redis.md, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).parents[3] / "docs/redis.md"

#: What the page adds for a cluster.
FOR_CLUSTER = ("+cluster|slots",)


def documented(password: str) -> list[str]:
    """The command, word by word."""
    page = _PAGE.read_text()
    [line] = re.findall(r"^ACL SETUSER .*$", page, re.MULTILINE)
    assert f"`{' '.join(FOR_CLUSTER)}`" in page
    return line.replace("PASSWORD", password).split()
