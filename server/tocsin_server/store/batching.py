"""Batches are cut: by queue, as queues may stand on different servers, and in parts, lest one call hold up others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from tocsin_server.domain.errors import StoreAway, TocsinError

T = TypeVar("T")
R = TypeVar("R")


async def by_queue(
    items: Sequence[T], queue_of: Callable[[T], str], act: Callable[[str, Sequence[T]], Awaitable[list[R]]]
) -> list[R]:
    """Act on each queue's items in their order, queues side by side; answers in the order of the items.

    Where one queue's call fails and another's has acted, the failure stands in the places of its items.
    """
    groups: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        groups.setdefault(queue_of(item), []).append(at)
    if len(groups) == 1:
        return await act(next(iter(groups)), items)
    found = await asyncio.gather(
        *(act(queue, [items[at] for at in places]) for queue, places in groups.items()), return_exceptions=True
    )
    if failures := [group for group in found if isinstance(group, BaseException)]:
        unforeseen = [failure for failure in failures if not isinstance(failure, TocsinError)]
        if unforeseen or len(failures) == len(found):
            raise (unforeseen or failures)[0]
    answers: dict[int, Any] = {}
    for places, group in zip(groups.values(), found, strict=True):
        answered: Sequence[Any] = [group] * len(places) if isinstance(group, BaseException) else group
        answers.update(zip(places, answered, strict=True))
    return [answers[at] for at in range(len(items))]


def parts(
    sizes: Sequence[int], most: int, most_bytes: int, weights: Sequence[int] | None = None
) -> Iterator[tuple[int, int]]:
    """Cut a batch: first and end index of parts of at most `most` items and `most_bytes`, of one item at least.
    `weights` says as how many items each counts."""
    start = total = count = 0
    for at, size in enumerate(sizes):
        weight = 1 if weights is None else weights[at]
        if at > start and (count + weight > most or total + size > most_bytes):
            yield start, at
            start, total, count = at, 0, 0
        total += size
        count += weight
    if len(sizes) > start:
        yield start, len(sizes)


async def part_by_part(
    items: Sequence[T], cuts: Iterable[tuple[int, int]], send: Callable[[Sequence[T]], Awaitable[list[R]]]
) -> list[R | TocsinError]:
    """Send the parts one after another; one answer an item. Raises where the first part fails.

    Where a later one fails, its failure stands in the places of its items, and StoreAway in those of all that follow:
    earlier parts have acted, and their answers must not be lost with this one's.
    """
    answers: list[R | TocsinError] = []
    for start, end in cuts:
        try:
            answers += await send(items[start:end])
        except TocsinError as error:
            if start == 0:
                raise
            answers += [error.with_traceback(None)] * (end - start)  # else this call and it hold each other
            answers += [StoreAway("an earlier part of the batch failed")] * (len(items) - end)
            break
    return answers
