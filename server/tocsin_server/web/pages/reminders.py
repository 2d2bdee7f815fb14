"""The reminders of one booking or payment."""

from __future__ import annotations

from starlette.responses import Response
from tocsin import NotFound, TocsinError
from tocsin.v1 import reminder_service_pb2

from tocsin_server.web.pages.jobs import queue_names
from tocsin_server.web.visit import Visit

_KINDS = ("BOOKING", "PAYMENT")


async def reminders(visit: Visit, *, trouble: str = "", status: int = 200) -> Response:
    """The set that is asked for, or the form alone."""
    queue, kind, set_id = _asked(visit)
    found = None
    if set_id:
        request = reminder_service_pb2.GetRemindersRequest(queue=queue, kind=_number(kind), id=set_id)
        try:
            found = (await visit.ask(visit.backend.reminders.GetReminders, request)).set
        except NotFound as error:
            if not trouble:
                trouble, status = error.message, 404
    return visit.page(
        "reminders.html",
        f"Reminders of {kind.lower()} {set_id}" if set_id else "Reminders",
        status=status,
        trouble=trouble,
        queue=queue,
        kind=kind,
        kinds=_KINDS,
        set_id=set_id,
        found=found,
        names=await queue_names(visit),
    )


async def cancel(visit: Visit) -> Response:
    """Cancel what has not been sent."""
    queue, kind, set_id = _asked(visit)
    request = reminder_service_pb2.CancelRemindersRequest(
        queue=queue, kind=_number(kind), id=set_id, reason=visit.field("reason")
    )
    try:
        await visit.ask(visit.backend.reminders.CancelReminders, request)
    except TocsinError as error:
        return await reminders(visit, trouble=error.message, status=409)
    return visit.go("/reminders", queue=queue, kind=kind, id=set_id, said="reminders-cancelled")


def _asked(visit: Visit) -> tuple[str, str, str]:
    def given(name: str) -> str:
        return visit.query(name) or visit.field(name)

    kind = given("kind").upper()
    return given("queue") or "default", kind if kind in _KINDS else _KINDS[0], given("id")


def _number(kind: str) -> reminder_service_pb2.ReminderSet.Kind.ValueType:
    return reminder_service_pb2.ReminderSet.Kind.Value(kind)
