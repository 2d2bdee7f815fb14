"""The alert rules, the board, and what Prometheus and Grafana are told of them, agree with what servers tell."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.source_tree import ROOT
from tocsin_server.settings import load
from tocsin_server.telemetry import metrics as names
from tocsin_server.telemetry.instruments import Family

FOLDER = ROOT / "docker/observability"
ALERTS = FOLDER / "alerts.yaml"
TOLD = {
    f"{family.name}{suffix}"
    for family in vars(names).values()
    if isinstance(family, Family)
    for suffix in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
}
LABELS = {
    family.name: {*family.labels, "le", "instance", "job"}
    for family in vars(names).values()
    if isinstance(family, Family)
}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "board.json").read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Each query of the rules and the board; Grafana's variables filled in."""
    for group in read("alerts.yaml")["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$queue", ".*")


def test_each_metric_that_is_asked_for_is_told() -> None:
    asked = [name for query in queries() for name in re.findall(r"\btocsin_\w+", query)]
    assert len(asked) > 40
    assert set(asked) - TOLD == set()


def test_each_metric_that_says_something_is_on_the_board_or_has_an_alert() -> None:
    asked = " ".join(queries())
    unused = {name for name in LABELS if name not in asked}
    assert unused == {"tocsin_build_info", "tocsin_queues", "tocsin_queues_to_read"} | {
        "tocsin_store_silence_seconds",
        "tocsin_chore_steps_total",
        "tocsin_chore_busy_seconds_total",
    }


def test_labels_that_are_asked_for_are_there() -> None:
    for query in queries():
        for name, chosen in re.findall(r"\b(tocsin_\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)\s*[=!]", chosen)) <= LABELS[name], query


def test_each_panel_has_a_unit_a_word_and_a_place_of_its_own() -> None:
    taken = set()
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(set(ids)) == len(ids)


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    rules = [rule for group in read("alerts.yaml")["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["annotations"]["description"].endswith(".")


def test_promtool_takes_the_rules_and_each_query(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"test:query{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    for one in (ALERTS, file):
        found = subprocess.run([promtool, "check", "rules", one], capture_output=True, text=True, timeout=60)
        assert found.returncode == 0, found.stderr


def test_alerts_go_off_when_they_should(promtool: str, tmp_path: Path) -> None:
    told = (Path(__file__).parent / "alerts_test.yaml").read_text().replace("ALERTS", str(ALERTS))
    (tmp_path / "test.yaml").write_text(told)
    found = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_prometheus_asks_where_the_server_tells(promtool: str) -> None:
    found = subprocess.run(
        [promtool, "check", "config", "--syntax-only", FOLDER / "prometheus.yaml"], capture_output=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
    [scrape] = read("prometheus.yaml")["scrape_configs"]
    [discovery] = scrape["dns_sd_configs"]
    services = read("compose.yaml")["services"]
    assert discovery["names"] == ["tocsin"]
    listen = load([], services["tocsin"]["environment"]).settings.metrics.listen
    assert listen is not None
    assert listen.rpartition(":")[2] == str(discovery["port"])


def test_what_is_mounted_is_there_and_nothing_is_open_to_other_machines() -> None:
    compose = read("compose.yaml")
    services = [compose["services"][name] for name in ("prometheus", "grafana")]
    mounts = [mount.split(":") for service in services for mount in service["volumes"]]
    files = [source for source, *_ in mounts if source.startswith(".")]
    # Compose counts from the folder of the first file that it is given.
    assert [file for file in files if not (ROOT / "docker" / file).is_file()] == []
    assert sorted(source for source, *_ in mounts if not source.startswith(".")) == sorted(compose["volumes"])
    assert {Path(file).name for file in files} >= {ALERTS.name, "board.json", "prometheus.yaml"}
    for service in services:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "ports" not in compose["services"]["tocsin"]


@pytest.mark.parametrize("name", ["datasources.yaml", "dashboards.yaml"])
def test_grafana_finds_its_source_and_its_board(name: str) -> None:
    told = read(f"grafana/{name}")
    if name == "datasources.yaml":
        [source] = told["datasources"]
        assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {source["uid"]}
        assert source["url"] == "http://prometheus:9090"
    else:
        [provider] = told["providers"]
        mounts = read("compose.yaml")["services"]["grafana"]["volumes"]
        assert any(mount.split(":")[1] == f"{provider['options']['path']}/board.json" for mount in mounts)
