"""A store's clock is its server's own, or moved by hand: said when a store is made, checked when it is opened."""

from __future__ import annotations

from tocsin_server.store.interface import StoreUnfit

NO_CLUSTER = (
    "a Redis Cluster cannot have a clock that is moved by hand: its nodes share no key that would say how far. Use a "
    "single server, or the embedded store"
)


def check_clock(*, manual: bool, made_manual: bool) -> None:
    """StoreUnfit where a store was made with the other clock."""
    if manual and not made_manual:
        raise StoreUnfit(
            "the store was made with a real clock, and no clock can be moved by hand under jobs of real time: for "
            "--clock manual use a new data folder, namespace or collection"
        )
    if made_manual and not manual:
        raise StoreUnfit(
            "the store was made with a clock that is moved by hand, for tests: its times are no real ones. Say --clock "
            "manual if that is meant, or use another data folder, namespace or collection"
        )
