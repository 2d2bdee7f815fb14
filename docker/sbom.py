"""Writes the bill of materials of the image, CycloneDX 1.5 as JSON, to standard output: what requirements.lock holds.

    python docker/sbom.py > tocsin.cdx.json

The same lock gives the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCK = HERE / "requirements.lock"
PROJECT = HERE.parent / "pyproject.toml"

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:(?P<hash>[0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Each package of a lock, with its version and the hashes of the files that may be installed."""
    found = []
    starts = [match.start() for match in _PINNED.finditer(lock)] + [len(lock)]
    for start, end in pairwise(starts):
        entry = lock[start:end]
        match = _PINNED.match(entry)
        assert match is not None  # noqa: S101 - it begins there
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        purl = f"pkg:pypi/{name}@{match['version']}"
        hashes = [{"alg": "SHA-256", "content": one} for one in _HASH.findall(entry)]
        found.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": match["version"],
                "purl": purl,
                "hashes": hashes,
            }
        )
    return found


def bill(lock: str, version: str) -> dict[str, Any]:
    """The whole of it."""
    tocsin = f"pkg:pypi/tocsin@{version}"
    parts = components(lock)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, tocsin + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": tocsin,
                "name": "tocsin",
                "version": version,
                "purl": tocsin,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": parts,
        "dependencies": [{"ref": tocsin, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


if __name__ == "__main__":
    project = tomllib.loads(PROJECT.read_text())["project"]
    json.dump(bill(LOCK.read_text(), project["version"]), sys.stdout, indent=2)
    sys.stdout.write("\n")
