"""Scrapes a server's metrics, and reads them with Prometheus' own client."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from support.eventually import until
from support.servers import Server

#: Each sample's value, by name and labels: samples["tocsin_jobs", "q", "t", "WAITING"].
Samples = Mapping[tuple[str, ...], float]

#: Flags and variables of a server that serves metrics, and reads figures often.
METRICS = {"TOCSIN_METRICS__LISTEN": "127.0.0.1:0", "TOCSIN_METRICS__EVERY": "1s"}


def metrics_address(server: Server) -> str:
    """Where it says that it serves metrics."""
    lines = (line for line in server.said(100_000).splitlines() if line.startswith("{"))
    return next(str(said["metrics"]) for said in map(json.loads, lines) if said.get("event") == "serving")


def text_of(address: str) -> str:
    """What is told to a scraper."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return str(answer.read().decode())


def scraped(address: str) -> Samples:
    """The samples by name and the values of their labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text_of(address))
        for sample in family.samples
    }


def until_told(address: str, what: str, holds: Callable[[Samples], bool], within: float = 20) -> Samples:
    """Scrape until it holds; what was told then."""
    last: list[Samples] = []

    def told() -> bool:
        last[:] = [scraped(address)]
        return holds(last[0])

    until(told, within=within, what=what)
    return last[0]
