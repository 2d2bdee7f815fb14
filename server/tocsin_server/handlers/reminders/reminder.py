"""A reminder of either kind, as far as both are sent alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Reminder:
    """What is sent, to whom, and which set it belongs to."""

    kind: str  # "booking" or "payment"
    set_id: str  # the id of the booking or payment
    set_revision: int | None  # None: it belongs to no set
    template: str  # "": the one of its kind
    data: Mapping[str, object] = field(repr=False)  # what the template is filled with
    email_to: Sequence[str]
    sms_to: Sequence[str]
    payload: Message = field(repr=False)
    too_late: str = ""  # why nobody is reminded any more
