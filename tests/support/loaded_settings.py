"""Settings from flags, variables and a file, as the commands load them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tocsin_server.settings import Flag, Settings, SettingsError, load


def settings(*flags: Flag, config: Path | None = None, **environ: str) -> Settings:
    """What is loaded."""
    return load(flags, environ, config).settings


def refused(*flags: Flag, config: Path | None = None, **environ: str) -> tuple[str, ...]:
    """The lines that say why nothing is loaded."""
    with pytest.raises(SettingsError) as error:
        load(flags, environ, config)
    assert all("\n" not in line for line in error.value.lines)
    return error.value.lines
