"""Whatever is given where: one store is chosen by the rule, the highest place wins, and no secret comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tocsin_server.settings import Flag, Loaded, SettingsError, load

PLANTED = "s3cr3t-planted"
REDIS = ("url", "host", "port", "password", "db")
VARIABLES = {
    "provider": "QUEUE_PROVIDER",
    "url": "REDIS_URL",
    "host": "REDIS_HOST",
    "port": "REDIS_PORT",
    "password": "REDIS_PASSWORD",
    "db": "REDIS_DB",
    "mongodb_url": "MONGODB_URL",
    "collection": "QUEUE_COLLECTION",
}
FLAGS = {
    "provider": "--provider",
    "url": "--redis-url",
    "mongodb_url": "--mongodb-url",
    "collection": "--collection",
    "namespace": "--namespace",
}
VALUES: dict[str, list[Any]] = {
    "provider": ["redis", "bull", "mongo", "agenda", "embedded", PLANTED],
    "url": [f"redis://:{PLANTED}@r:1/0", f"unix:///s?password={PLANTED}"],
    "host": ["r", "::1", f"redis://:{PLANTED}@r"],
    "port": ["1", "x"],
    "password": [PLANTED],
    "db": ["1", "-1"],
    "mongodb_url": [f"mongodb://u:{PLANTED}@m/d", f"mongodb://m/?tlsCertificateKeyFilePassword={PLANTED}", PLANTED],
    "collection": ["jobs", "$jobs"],
    "namespace": ["shop", " shop"],
}
KINDS = {"redis": "redis", "bull": "redis", "mongo": "mongo", "agenda": "mongo", "embedded": "embedded"}
PLACES = ("file", "origin", "own", "flag")  # lowest first


@dataclass(frozen=True)
class Case:
    """Values by place and name."""

    at: Mapping[str, Mapping[str, str]]

    def highest(self, name: str) -> tuple[str, str] | None:
        """The value that wins, and its place."""
        return next(((self.at[place][name], place) for place in reversed(PLACES) if name in self.at[place]), None)

    def load(self) -> Loaded | tuple[str, ...]:
        """As a command would; the lines of a refusal."""
        environ = {VARIABLES[name]: value for name, value in self.at["origin"].items()}
        environ |= {f"TOCSIN_STORE__{name.upper()}": value for name, value in self.at["own"].items()}
        flags = [Flag(FLAGS[name], f"store.{name}", value) for name, value in self.at["flag"].items()]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tocsin.toml"
            lines = [
                f"{name} = {value if name in ('port', 'db') and value != 'x' else repr(value)}\n"
                for name, value in self.at["file"].items()
            ]
            file.write_text("[store]\n" + "".join(lines))
            try:
                return load(flags, environ, file)
            except SettingsError as error:
                return error.lines


def values_of(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES[name]) for name in names})


CASES = st.builds(
    Case,
    st.fixed_dictionaries(
        {
            "file": values_of(list(VALUES)),
            "origin": values_of(list(VARIABLES)),
            "own": values_of(list(VALUES)),
            "flag": values_of(list(FLAGS)),
        }
    ),
)


def expected(case: Case) -> str | None:
    """The store that the rule names; None: it must be refused."""
    if provider := case.highest("provider"):
        return KINDS.get(provider[0])
    given = {name for place in PLACES for name in case.at[place]}
    for named in (set(case.at["flag"]), given):
        kinds = {kind for kind, names in (("redis", set(REDIS)), ("mongo", {"mongodb_url"})) if names & named}
        if kinds:
            return kinds.pop() if len(kinds) == 1 else None
    return "embedded"


def wrong(case: Case, kind: str) -> bool:
    """A value that the chosen store uses is wrong, or a flag is for another one."""
    used = {"redis": [*REDIS, "namespace"], "mongo": ["mongodb_url", "collection"], "embedded": ["namespace"]}[kind]
    if any(name != "provider" and name not in used for name in case.at["flag"]):
        return True
    if kind == "redis" and case.highest("url"):
        used = ["url", "namespace"]
    bad = {"host": "redis://", "port": "x", "db": "-1", "collection": "$", "namespace": " "}
    for name in used:
        value = case.highest(name)
        if value and (value[0] == PLANTED if name == "mongodb_url" else value[0].startswith(bad.get(name, "\0"))):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(CASES)
def test_one_store_is_chosen_by_the_rule_or_the_settings_are_refused(case: Case) -> None:
    kind, loaded = expected(case), case.load()
    if not isinstance(loaded, Loaded):
        assert kind is None or wrong(case, kind), loaded
        assert loaded
        assert all("\n" not in line and ": " in line for line in loaded)
        assert PLANTED not in "".join(loaded)
        return
    assert kind is not None
    assert not wrong(case, kind)
    assert loaded.settings.store.kind == kind
    assert PLANTED not in repr(loaded.origins)
    for origin in loaded.origins:
        name = origin.setting.removeprefix("store.")
        if name in VALUES and (highest := case.highest(name)):
            value, place = highest
            source = {
                "file": f"store.{name} in ",
                "origin": VARIABLES.get(name, ""),
                "own": f"TOCSIN_STORE__{name.upper()}",
                "flag": FLAGS.get(name, ""),
            }[place]
            assert origin.source.startswith(source)
            if not origin.unused and PLANTED not in value:
                assert origin.shown == value
