"""Batches over several queues, queue by queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tocsin_server.domain.errors import TocsinError

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
