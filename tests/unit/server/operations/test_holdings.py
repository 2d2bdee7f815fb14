"""An attempt is held by one alone, and a cancel rings those who hold some of its queue."""

from __future__ import annotations

from collections.abc import Callable

from contract.builders import a_job
from tocsin_server.domain.lease import Claimed, Lease
from tocsin_server.operations.leasing.holdings import Holdings


class Bell:
    """Stands for the store's messages."""

    def __init__(self) -> None:
        self.ring: Callable[[str], None] = lambda queue: None

    def on_cancel(self, hear: Callable[[str], None]) -> None:
        self.ring = hear

    def on_moved(self, hear: Callable[[], None]) -> None:
        self.moved = hear


def claimed(queue: str = "q", token: bytes = b"a") -> Claimed:
    return Claimed(a_job(queue=queue), Lease(queue, "id", 1, token))


def test_a_cancel_rings_who_holds_some_of_the_queue() -> None:
    bell, rung = Bell(), list[str]()
    holdings = Holdings(bell)  # type: ignore[arg-type]  # it only subscribes
    one, other = holdings.holder(rung.append), holdings.holder(lambda queue: rung.append("other"))
    one.hold([claimed()])
    other.hold([claimed("r", b"b")])
    bell.ring("q")
    bell.ring("p")
    assert rung == ["q"]
    one.forget("q", b"a")
    bell.ring("q")
    assert rung == ["q"]


def test_a_cancel_that_overtakes_its_job_rings_when_that_comes() -> None:
    bell, rung = Bell(), list[str]()
    holdings = Holdings(bell)  # type: ignore[arg-type]
    holder = holdings.holder(rung.append)
    bell.ring("q")
    assert rung == []
    holder.hold([claimed()])
    assert rung == ["q"]


def test_who_takes_a_lease_over_has_it_alone() -> None:
    holdings = Holdings(Bell())  # type: ignore[arg-type]
    one, other = holdings.holder(), holdings.holder()
    lease = claimed().lease
    one.hold([claimed()])
    held = other.take_over(lease, "t")
    assert (one.get(lease), other.get(lease), holdings.owner(lease)) == (None, held, other)
    one.forget(lease.queue, lease.token)
    assert holdings.owner(lease) is other
    other.forget_all()
    assert holdings.owner(lease) is None
    assert len(other) == 0


def test_a_clock_that_is_moved_rings_all_who_hold_some() -> None:
    bell, rung = Bell(), list[str]()
    holdings = Holdings(bell)  # type: ignore[arg-type]
    holdings.holder(rung.append).hold([claimed(), claimed("r", b"b")])
    bell.moved()
    assert sorted(rung) == ["q", "r"]
