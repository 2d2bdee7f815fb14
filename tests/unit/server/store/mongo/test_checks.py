"""Which servers are no store."""

from __future__ import annotations

import pytest
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.mongo.checks import has_change_streams, refuse_routers


def test_a_router_of_a_sharded_cluster_is_refused_in_one_line() -> None:
    with pytest.raises(StoreUnfit, match="sharded clusters are not supported") as refusal:
        refuse_routers({"msg": "isdbgrid", "isWritablePrimary": True})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("hello", "streams"), [({"setName": "rs0"}, True), ({"isWritablePrimary": True}, False)])
def test_others_are_not(hello: dict[str, object], streams: bool) -> None:
    refuse_routers(hello)
    assert has_change_streams(hello) is streams
