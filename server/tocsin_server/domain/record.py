"""What the domain's values are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[_T]) -> type[_T]:
    """A value class: slots, compared and hashed by its fields, and never changed once it is made.

    The type checker holds the last; nothing does while the code runs. A frozen dataclass would, at 60 ns for each field
    of each one that is made, which for a job of a batch was a fifth of the server's time.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
