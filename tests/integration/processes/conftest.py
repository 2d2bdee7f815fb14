"""Stubs to the shared server that runs everyday jobs."""

from __future__ import annotations

from e2e.conftest import stubs

__all__ = ["stubs"]
