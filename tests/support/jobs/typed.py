"""Handlers whose payloads are of classes of their own, of every kind of handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Literal

from pydantic import BaseModel, Field, field_validator
from tocsin import Handlers, JobContext

handlers = Handlers()


class Colour(Enum):
    """Travels by name."""

    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Size:
    """Inside of another one."""

    width: int
    height: int = 100

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ValueError(f"width {self.width}")


@dataclass
class Resize:
    """One field of each kind."""

    path: str
    sizes: list[Size]
    colour: Colour = Colour.RED
    taken: datetime | None = None
    factor: float = 1.0
    names: dict[str, int] = field(default_factory=dict)
    mode: Literal["fast", "good"] = "fast"
    parent: Resize | None = None


class Mail(BaseModel):
    """A pydantic model with an alias, a bound and a check of its own."""

    to: list[str]
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    copies: int = Field(default=1, ge=1)
    sender: str = Field(default="me", alias="from")

    @field_validator("sender")
    @classmethod
    def known(cls, sender: str) -> str:
        """Its error names the value, as people write them."""
        if sender.startswith("x"):
            raise ValueError(f"{sender} is not known")
        return sender


def told(resize: Resize) -> dict[str, object]:
    """What a handler got, in words."""
    assert isinstance(resize, Resize)
    return {"path": resize.path, "area": sum(s.width * s.height for s in resize.sizes), "colour": resize.colour.name}


@handlers.on("resize_async", payload=Resize)
async def resize_async(job: JobContext, resize: Resize) -> dict[str, object]:
    """On a loop."""
    return told(resize)


@handlers.on("resize_thread", payload=Resize)
def resize_thread(job: JobContext, resize: Resize) -> dict[str, object]:
    """In a thread."""
    return told(resize)


@handlers.on("resize_process", payload=Resize, process=True)
def resize_process(job: JobContext, resize: Resize) -> dict[str, object]:
    """In a process of its own."""
    return told(resize)


@handlers.on("resize_process_async", payload=Resize, process=True)
async def resize_process_async(job: JobContext, resize: Resize) -> dict[str, object]:
    """In a process of its own, on a loop."""
    return told(resize)


@handlers.on("mail", payload=Mail)
async def mail(job: JobContext, mail: Mail) -> dict[str, object]:
    """A pydantic model."""
    return {"to": mail.to, "year": mail.at.year, "sender": mail.sender, "copies": mail.copies}
