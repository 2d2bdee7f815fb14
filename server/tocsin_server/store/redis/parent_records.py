"""Parents of a job as Redis keeps them, and back: lua/lib/following.lua."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tocsin_server.domain.dependencies import ParentEnd, ParentJob
from tocsin_server.store.condition_records import ref_bytes, ref_in

_PARENT = struct.Struct(">H6sB")


def parents_bytes(parents: Sequence[ParentJob]) -> bytes:
    """Parents of a job, as lua/lib/following.lua reads them."""
    packed = bytearray()
    for parent in parents:
        reference = ref_bytes(parent.queue, parent.job_id)
        packed += (
            len(reference).to_bytes(2, "big") + reference + parent.arrival.to_bytes(6, "big") + bytes((parent.end,))
        )
    return bytes(packed)


def parents_of(pairs: Sequence[bytes]) -> tuple[ParentJob, ...]:
    """What parents.lua says of one job."""
    found = []
    for reference, said in zip(pairs[::2], pairs[1::2], strict=True):
        if reference:
            place, arrival, end = _PARENT.unpack(said)
            named = ref_in(reference)
            found.append((place, ParentJob(named.queue, named.job_id, int.from_bytes(arrival, "big"), ParentEnd(end))))
    return tuple(parent for _, parent in sorted(found, key=lambda one: one[0]))
