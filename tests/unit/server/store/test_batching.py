"""Large batches are cut into parts, and what one part answers is not lost with the next one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.store.batching import part_by_part, parts


@pytest.mark.parametrize(
    ("sizes", "cuts"),
    [
        ([], []),
        ([1], [(0, 1)]),
        ([1, 1, 1, 1, 1], [(0, 3), (3, 5)]),
        ([4, 4, 4], [(0, 2), (2, 3)]),
        ([99, 1, 99], [(0, 1), (1, 2), (2, 3)]),
        ([10, 0, 0, 0], [(0, 3), (3, 4)]),
    ],
)
def test_a_part_holds_3_items_and_10_bytes_and_one_item_at_least(sizes: list[int], cuts: list[tuple[int, int]]) -> None:
    assert list(parts(sizes, 3, 10)) == cuts


async def test_answers_come_in_order() -> None:
    async def double(some: Sequence[int]) -> list[int]:
        return [2 * one for one in some]

    assert await part_by_part(range(5), [(0, 2), (2, 5)], double) == [0, 2, 4, 6, 8]


class Failing:
    """Takes some parts and then fails."""

    def __init__(self, good: int, error: Exception) -> None:
        self._left, self._error = good, error
        self.seen: list[int] = []

    async def __call__(self, some: Sequence[int]) -> list[int]:
        if self._left == 0:
            raise self._error
        self._left -= 1
        self.seen += some
        return list(some)


async def test_the_first_parts_failure_is_raised() -> None:
    failing = Failing(0, StoreFull("no room"))
    with pytest.raises(StoreFull):
        await part_by_part(range(4), [(0, 2), (2, 4)], failing)


async def test_a_later_parts_failure_stands_in_its_place_and_no_further_part_is_sent() -> None:
    error = OutcomeUnknown("cut")
    failing = Failing(1, error)
    first, second, third, fourth, *rest = await part_by_part(range(6), [(0, 2), (2, 4), (4, 6)], failing)
    assert (first, second, third, fourth) == (0, 1, error, error)
    assert [type(one) for one in rest] == [StoreAway, StoreAway]
    assert failing.seen == [0, 1]


async def test_a_mistake_is_no_refusal() -> None:
    with pytest.raises(KeyError):
        await part_by_part(range(4), [(0, 2), (2, 4)], Failing(1, KeyError("bug")))
