"""Values of the domain: compared by what they hold, without room for more, and not to be changed."""

from __future__ import annotations

import pytest
from tocsin_server.domain.lease import Lease


def test_a_record_is_compared_and_hashed_by_its_fields() -> None:
    lease = Lease("q", "one", 1, b"token")

    assert lease == Lease("q", "one", 1, b"token")
    assert lease != Lease("q", "one", 2, b"token")
    assert len({lease, Lease("q", "one", 1, b"token"), Lease("q", "two", 1, b"token")}) == 2


def test_a_record_takes_no_further_attribute() -> None:
    lease = Lease("q", "one", 1, b"token")

    with pytest.raises(AttributeError):
        lease.colour = "red"  # type: ignore[attr-defined]
