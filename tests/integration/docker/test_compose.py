"""Each compose file agrees with itself, with the image and with the server's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.source_tree import ROOT
from tocsin_server.settings import duration, load

from integration.docker.dockerfile import DOCKERFILE, stages

FILES = sorted(DOCKERFILE.parent.glob("compose.*.yaml"))
STORES = {
    "compose.mongo.yaml": ("mongo", "mongodb://mongo:27017/tocsin?replicaSet=rs0"),
    "compose.redis.yaml": ("redis", "redis://redis:6379/0"),
    "compose.redis-cluster.yaml": ("redis", "redis+cluster://node-1:6379,node-2:6379,node-3:6379"),
}


def read(path: Path) -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load(path.read_text())
    return compose


@pytest.fixture(params=FILES, ids=[path.name for path in FILES])
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def compose(path: Path) -> dict[str, Any]:
    return read(path)


def test_each_provider_has_its_file() -> None:
    assert {path.name for path in FILES} == set(STORES)


def test_each_image_is_of_a_version(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert re.fullmatch(r"[a-z]+:\d+\.\d+[a-z0-9.-]*", service["image"])


def test_services_networks_and_volumes_that_are_named_are_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert set(service.get("networks", {})) <= set(compose.get("networks", {}))
    mounted = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    assert sorted(mount.partition(":")[0] for mount in mounted) == sorted(compose["volumes"])


def test_what_is_waited_for_can_come(compose: dict[str, Any]) -> None:
    services = compose["services"]
    awaited = [
        (name, rule["condition"])
        for service in services.values()
        for name, rule in service.get("depends_on", {}).items()
    ]
    assert awaited
    for name, condition in awaited:
        if condition == "service_completed_successfully":
            assert "restart" not in services[name], "it would never be over"
        else:
            assert condition == "service_healthy"
            assert "healthcheck" in services[name]


def test_the_server_knows_each_variable_and_takes_the_store_from_them(path: Path) -> None:
    environment = read(path)["services"]["tocsin"]["environment"]
    loaded = load([], environment)
    assert {origin.source for origin in loaded.origins} >= set(environment), "a variable without effect"
    store = loaded.settings.store
    assert (store.kind, store.address()) == STORES[path.name]


def test_the_stores_address_leads_to_services(path: Path) -> None:
    hosts = re.findall(r"([a-z0-9-]+):\d+", STORES[path.name][1])
    assert hosts
    assert set(hosts) <= set(read(path)["services"])


def test_the_server_is_the_same_but_for_its_store() -> None:
    servers = [read(path)["services"]["tocsin"] for path in FILES]
    for server in servers:
        del server["environment"], server["depends_on"]
    assert servers.count(servers[0]) == len(FILES)


def test_the_server_is_built_from_the_checkout_and_seen_by_this_machine_only(compose: dict[str, Any]) -> None:
    server = compose["services"]["tocsin"]
    context = (DOCKERFILE.parent / server["build"]["context"]).resolve()
    assert context == ROOT
    assert context / server["build"]["dockerfile"] == DOCKERFILE
    port = stages()[-1].one("EXPOSE")
    assert server["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_a_stop_leaves_more_time_than_the_drain_takes(compose: dict[str, Any]) -> None:
    server = compose["services"]["tocsin"]
    assert duration(server["stop_grace_period"]) > load([], server["environment"]).settings.drain.grace


def test_process_1_is_not_the_server_itself(compose: dict[str, Any]) -> None:
    # Process 1 never gets a signal that it has not asked for yet: a stop in the server's first second would be lost.
    assert compose["services"]["tocsin"]["init"] is True
