"""Versions of workers are compared number by number."""

from __future__ import annotations

import pytest
from tocsin_server.domain.versions import at_least


@pytest.mark.parametrize(
    ("version", "lowest"),
    [
        ("2.11", "2.9.4"),
        ("2.11", "2.11.0"),
        ("2.11.0", "2.11"),
        ("2.11.0-rc1", "2.11"),
        ("v3", "2.99"),
        ("1.2+build.7", "1.2"),
        ("10", "9"),
        ("1", ""),
        ("", ""),
    ],
)
def test_it_is_high_enough(version: str, lowest: str) -> None:
    assert at_least(version, lowest)


@pytest.mark.parametrize(("version", "lowest"), [("2.9.4", "2.11"), ("", "0.1"), ("1.2", "1.2.1"), ("beta", "1")])
def test_it_is_too_low(version: str, lowest: str) -> None:
    assert not at_least(version, lowest)
