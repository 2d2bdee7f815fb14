"""Large batches, sent part by part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tocsin_server.domain.errors import StoreAway, TocsinError

T = TypeVar("T")
R = TypeVar("R")


def parts(sizes: Sequence[int], most: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut a batch: first and end index of parts of at most `most` items and `most_bytes`, of one item at least."""
    start = total = 0
    for at, size in enumerate(sizes):
        if at > start and (at - start == most or total + size > most_bytes):
            yield start, at
            start, total = at, 0
        total += size
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
            answers += [error] * (end - start)
            answers += [StoreAway("an earlier part of the batch failed")] * (len(items) - end)
            break
    return answers
