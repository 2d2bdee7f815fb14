"""A Bull whose Redis is a cluster: its queues lie on all nodes, each by the hash tag in its name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import RedisCluster
from support.redis_topologies import MISSING, ClusterPart
from tocsin_server.migrate.systems.foreign import Choices, Verdict

from integration.migration.bull.conftest import OPENERS

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
TAGS = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPart]:
    cluster = ClusterPart(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def write(cluster: ClusterPart) -> None:
    """Two jobs in each queue."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    with RedisCluster(host="127.0.0.1", port=cluster.ports[0]) as client:
        for tag in TAGS:
            root = f"bull:{{{tag}}}"
            client.set(f"{root}:id", 2)
            for job_id in ("1", "2"):
                client.hset(f"{root}:{job_id}", mapping={"name": "n", "data": "{}", "opts": "{}", "timestamp": now})
                client.lpush(f"{root}:wait", job_id)


async def test_queues_on_all_nodes_are_found(cluster: ClusterPart) -> None:
    write(cluster)
    nodes = {cluster.port_of(f"{{{tag}}}") for tag in TAGS}
    assert len(nodes) == len(cluster.ports)
    async with OPENERS["bull"](cluster.url, Choices()) as reader:
        found = [(thing.queue, thing.source_id, thing.verdict) async for thing in reader.read()]
        assert await reader.paused() == ()
    assert found == [(f"{{{tag}}}", job_id, Verdict.CHANGED) for tag in TAGS for job_id in ("1", "2")]
