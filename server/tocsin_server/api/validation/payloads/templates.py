"""Rules on the names of templates."""

from __future__ import annotations

import re

from tocsin_server.api.validation.violations import Violations

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


def check_template(wrong: Violations, path: str, name: str) -> None:
    """The name of a template; empty is none."""
    if name and not _NAME.match(name):
        wrong.add(path, "is no template name: 1 to 100 of A-Z a-z 0-9 . _ - are allowed")
