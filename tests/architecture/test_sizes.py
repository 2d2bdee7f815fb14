"""Files stay small enough to be read at one sitting."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.source_tree import GENERATED, LUA, PACKAGES, PROTOS, ROOT

LIMITS = [
    (450, [path for folder in PACKAGES.values() for path in folder.rglob("*.py") if GENERATED not in path.parents]),
    (500, list((ROOT / "tests").rglob("*.py"))),
    (150, list(LUA.glob("*.lua"))),
    (250, list((LUA / "lib").glob("*.lua"))),
    (400, list(PROTOS.glob("*.proto"))),
]


@pytest.mark.parametrize(("limit", "paths"), LIMITS, ids=["modules", "tests", "scripts", "script parts", "protos"])
def test_no_file_is_longer_than_its_kind_may_be(limit: int, paths: list[Path]) -> None:
    assert paths, "nothing was looked at"
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {name: lines for name, lines in lengths.items() if lines > limit} == {}
