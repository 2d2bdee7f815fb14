"""Generates the Python stubs of `protos/tocsin` into `client/tocsin/v1`.

A hatchling build hook, so that installing from a checkout or an sdist generates them; in a checkout also
`python protos/generate.py`. The proto path equals the package path, so nothing is rewritten afterwards. KEDA's proto is
put beside Tocsin's by a path of its own: its package's name, as a folder of site-packages, would be everybody's.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STUBS = Path("client/tocsin/v1")


def generate(root: Path = ROOT) -> list[Path]:
    """Write the stubs with type hints below `root`; returns what was written. Raises SystemExit if protoc refuses."""
    from grpc_tools import protoc  # only there when stubs are made, never at run time

    protos = sorted((root / "protos/tocsin/v1").glob("*.proto"))
    vendored = root / "protos/externalscaler"
    out = root / "client"
    (root / STUBS).mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-Itocsin/v1={vendored}",
        f"-I{root / 'protos'}",
        f"-I{resources.files('grpc_tools') / '_proto'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *map(str, [*protos, *vendored.glob("*.proto")]),
    ]
    if status := protoc.main(arguments):
        raise SystemExit(f"protoc failed with status {status}: mend the .proto files named above")
    (root / STUBS / "__init__.py").write_text('"""Generated from protos/tocsin/v1 by protos/generate.py."""\n')
    return sorted(path for path in (root / STUBS).iterdir() if path.is_file())


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # a checkout without hatchling can still run this file by hand
    pass
else:

    class GenerateStubs(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's class is untyped here
        """Runs `generate` before sdist, wheel and editable builds."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name == "sdist":
                return  # the sdist carries the .proto files and generates when it is built
            written = generate(Path(self.root))
            build_data["artifacts"] += [str(path.relative_to(self.root)) for path in written]


if __name__ == "__main__":
    for path in generate():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
