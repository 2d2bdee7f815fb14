"""The version of the distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("tocsin")
except PackageNotFoundError:  # run from a source tree that was not installed
    VERSION = "0"
