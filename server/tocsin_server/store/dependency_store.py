"""DependencyStore: what a store does for jobs that wait for the ends of others. The specification, as interface.py is.

A child is added with its parents, and is BLOCKED; then it asks each, in the parent's queue, to be told of its end
(`watch`), and hears what they answer (`settle`). A parent that ends is put among the errands of its queue in the step
that ends it; whoever takes an errand tells the children, in their queues (`settle`), and then says so (`told`). Each of
these can be done twice, and what was begun and not ended comes again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tocsin_server.domain.dependencies import EndedParent, EndWatch, Errands, ParentJob, Settlement
from tocsin_server.domain.states import State


class DependencyStore(ABC):
    """The same jobs as the store's. All raise what JobStore's methods raise."""

    @abstractmethod
    async def parents(self, queue: str, job_ids: Sequence[str]) -> list[tuple[ParentJob, ...]]:
        """Whom these jobs wait for, or did, in the order given; empty for others. Cost O(parents)."""

    @abstractmethod
    async def watch(self, queue: str, watches: Sequence[EndWatch]) -> list[ParentJob]:
        """Let children be told of the ends of parents in this queue, each as it stands now: OPEN, with its arrival,
        where it will be told; ended, or GONE where no such job stands, where it need not be. No change of the parent,
        no event. Watched twice is as once. Cost O(1) each."""

    @abstractmethod
    async def settle(self, queue: str, settlements: Sequence[Settlement]) -> list[State | None]:
        """Let children in this queue hear of parents; the states that they are in then, None where none stands.

        Of one that is BLOCKED: a parent that is OPEN and is said to have ended (its arrival must fit, where both are
        known) has ended. By its rule a parent that did not complete ends the child: FAILED with the error
        PARENT_FAILED, or CANCELLED with that as its reason; where the child is another's on_end, and that one is GONE,
        it is deleted. With no parent OPEN it is let go: SCHEDULED, or WAITING where its time has come. `asked_all`: it
        need not ask again before limits.ASK_AGAIN. What was heard before changes nothing. Cost O(parents said).
        """

    @abstractmethod
    async def errands(self, queue: str, limit: int = 100) -> Errands:
        """What is to be done now, at most `limit` of it: jobs that ended, by whatever verb, or were deleted before they
        had, while children waited for them; and BLOCKED jobs that are to ask their parents. Jobs whose block_timeout is
        over end here, FAILED with the error BLOCK_TIMEOUT. What was given comes again after limits.RETELL, or
        limits.ASK_PARENTS, unless it was done. An ended job is not trimmed before its children were told."""

    @abstractmethod
    async def told(self, queue: str, tellings: Sequence[EndedParent]) -> bool:
        """These children have heard of these ends; whether more children of them are still to hear."""
