"""SealedStore: what a store must do where what users said is encrypted in it. The specification, as interface.py is for
jobs.

The store keeps sealed values as it keeps others, and has no keys. It says in itself by which key it was last written,
so that nobody opens it who cannot read it, and puts values that were sealed anew in the place of the old ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tocsin_server.domain.job import Job
from tocsin_server.domain.record import record


@record
class Resealed:
    """A job (View.FULL) as it was read, and the same with other bytes for some of its sealed parts, none shorter."""

    before: Job
    after: Job


@record
class ResealedLine:
    """A line of a job's log: its number, its text as it was read, and the text to be."""

    number: int
    before: str
    after: str


class RecordSealer(ABC):
    """Encrypts what is exported from an encrypted store, whole, and decrypts it where it is imported."""

    @abstractmethod
    def seal(self, queue: str, kind: int, record: bytes) -> tuple[bytes, str]:
        """A record of the queue, encrypted, and the id of the key. `kind`: which kind of record it is."""

    @abstractmethod
    def open(self, queue: str, kind: int, sealed: bytes) -> bytes:
        """The record. CannotDecrypt, KeyMissing."""


class SealedStore(ABC):
    """Keeps what is sealed."""

    @abstractmethod
    async def key_id(self) -> str:
        """The id of the key that the store was last written with; "" where nothing is encrypted in it."""

    @abstractmethod
    async def mark(self, key_id: str) -> None:
        """Say in the store that it is written encrypted from now on, with this key. A store so marked is opened by
        those alone who say that they have keys: for any other `open` raises StoreUnfit."""

    @abstractmethod
    async def reseal(self, queue: str, jobs: Sequence[Resealed]) -> list[bool]:
        """Put payload, result, texts of errors and progress in the place of what stands, in any state, where all of
        those that differ stand as they were read; of each job whether they did. To others nothing has changed: there is
        no event, and the revision stays. Cost O(1) a job."""

    @abstractmethod
    async def reseal_lines(self, queue: str, job_id: str, arrival: int, lines: Sequence[ResealedLine]) -> int:
        """The same of lines of a job's log; how many stood as they were read. Cost O(1) a line."""
