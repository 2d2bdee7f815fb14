"""What the Dockerfile says agrees with the server, and its files are found."""

from __future__ import annotations

import re
import tomllib

from support.source_tree import GENERATED, ROOT
from tocsin_server.settings import load

from integration.docker.dockerfile import DOCKERFILE, copied, stages

IMAGE = stages()[-1]


def test_the_image_is_of_the_version_that_is_tested_and_both_stages_are_of_one() -> None:
    [image] = {stage.image for stage in stages()}
    assert re.fullmatch(r"python:3\.11-slim-[a-z]+", image)


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = [
        line
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert lines[0] == "*"
    assert let_in == copied()
    assert all((ROOT / source).exists() for source in let_in)
    assert lines[1 + len(let_in) :] == [str(GENERATED.relative_to(ROOT)), "**/__pycache__"]


def test_the_server_listens_to_all_on_the_port_that_is_exposed_and_asked_for_its_health() -> None:
    loaded = load([], {name: value for name, value in IMAGE.environment.items() if name.startswith("TOCSIN_")})
    assert loaded.settings.listen == f"0.0.0.0:{IMAGE.one('EXPOSE')}"
    assert IMAGE.one("EXPOSE") == "50051", "`tocsin health` asks there by itself"


def test_the_embedded_store_lies_on_the_volume_and_the_volume_is_the_users() -> None:
    volume, user = IMAGE.one("VOLUME"), IMAGE.one("USER")
    assert IMAGE.environment["TOCSIN_DATA"] == volume
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    owner, group = user.split(":")
    assert f"install -d -o {owner} -g {group} -m 700 {volume}" in IMAGE.all("RUN")


def test_the_image_gets_nothing_but_the_virtual_environment_and_that_is_on_its_path() -> None:
    folder = "/opt/tocsin"
    assert IMAGE.all("COPY") == [f"--from=build {folder} {folder}"]
    assert IMAGE.environment["PATH"] == f"{folder}/bin:$PATH"


def test_each_tag_of_ours_is_the_packages_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files = [DOCKERFILE, *DOCKERFILE.parent.glob("compose.*.yaml"), ROOT / "docs/docker.md"]
    tags = {path.name: set(re.findall(r"\btocsin:(\d[\w.]*)", path.read_text())) for path in files}
    assert tags == {path.name: {version} for path in files}
