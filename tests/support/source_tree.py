"""The checkout's own files, for tests that look at the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {"tocsin": ROOT / "client/tocsin", "tocsin_server": ROOT / "server/tocsin_server"}
GENERATED = ROOT / "client/tocsin/v1"
LUA = ROOT / "server/tocsin_server/store/redis/lua"
PROTOS = ROOT / "protos/tocsin/v1"
VENDORED = ROOT / "protos/externalscaler"  # has stubs beside those of PROTOS


def modules() -> Iterator[tuple[str, Path]]:
    """Dotted name and path of each module that was written by hand."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if GENERATED not in path.parents:
                parts = path.relative_to(folder).with_suffix("").parts
                yield ".".join((package, *(part for part in parts if part != "__init__"))), path


def imports(name: str, path: Path) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it. `from a import b` gives "a.b", b a module or not."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(filter(None, (*above, base)))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    """Whether a dotted name is `package` or lies in it."""
    return name == package or name.startswith(package + ".")
