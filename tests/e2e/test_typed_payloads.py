"""Payloads of a class of one's own, from the client to a handler and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.jobs.typed import Colour, Mail, Resize, Size
from support.servers import Server
from support.stores import StoreBackend
from tocsin import AsyncClient, Client, InvalidArgument, Job, JobRequest

RESIZE = Resize("a.png", [Size(3, 5), Size(2)], Colour.BLUE)
RESIZED = {"path": "a.png", "area": 215, "colour": "BLUE"}


def test_own_classes_go_from_schedule_to_the_handler_and_misfits_fail_at_once(
    store: StoreBackend, serve: Callable[..., Server], queue: str
) -> None:
    address = serve(store.url, handlers="support.jobs.typed").address

    async def async_schedule() -> Job:
        async with AsyncClient(address) as client:
            return await client.schedule("resize_async", RESIZE, queue=queue)

    with Client(address) as client:
        mail = Mail.model_validate({"to": ["ada"], "from": "eve"})
        wanted = [JobRequest(f"resize_{kind}", RESIZE, queue=queue) for kind in ("async", "thread", "process")]
        jobs = [*client.schedule_many(wanted), asyncio.run(async_schedule())]
        assert [client.wait(job, timeout=30).result for job in jobs if isinstance(job, Job)] == [RESIZED] * 4
        mailed = client.wait(client.schedule("mail", mail, queue=queue), timeout=30)
        assert mailed.result == {"to": ["ada"], "year": 2026, "sender": "eve", "copies": 1}

        with pytest.raises(InvalidArgument, match=r"job\.data\.sizes: must be a list"):
            client.schedule("resize_async", Resize("a", 7), queue=queue)  # type: ignore[arg-type]  # the mistake

        for type, data, says in (
            ("resize_async", {"path": "a", "sizes": [{"width": "s3cret"}]}, "sizes[0].width: must be a whole number"),
            ("resize_process", {"path": "a"}, "sizes: is missing"),
            ("mail", {"to": [], "from": "xs3cret"}, "from: is refused by the class itself (value_error)"),
        ):
            failed = client.wait(client.schedule(type, data, queue=queue), timeout=30)
            assert (failed.state, failed.failures) == ("FAILED", 1)
            assert failed.errors[-1].type == "INVALID_PAYLOAD"
            assert says in failed.errors[-1].message
            assert "s3cret" not in str(failed.to_dict()["errors"])
