"""Skips what cannot run here; the summary says so loudly (tests/conftest.py)."""

from __future__ import annotations

import pytest
from support.redis_topologies import MISSING, MISSING_TLS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "topologies" in item.path.parts:
            missing = MISSING_TLS if "tls" in item.path.name else MISSING
            item.add_marker(pytest.mark.skipif(bool(missing), reason=missing))
