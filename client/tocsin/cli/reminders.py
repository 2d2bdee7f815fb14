"""`tocsin reminders`: reminders that follow their booking or payment."""

from __future__ import annotations

import json as json_module
from datetime import datetime, timedelta
from typing import Annotated, TypeAlias

import typer

from tocsin.cli import json_lines, parsing, printing
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.options import QueueName
from tocsin.enums import ReminderKind
from tocsin.reminders import ReminderOptions, ReminderSet

app = typer.Typer(
    help="Remind of bookings and payments, move reminders with them, cancel them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

EmailTo: TypeAlias = Annotated[
    list[str] | None, typer.Option("--email-to", metavar="ADDRESS", help="Who gets it by e-mail. May be repeated.")
]
SmsTo: TypeAlias = Annotated[
    list[str] | None, typer.Option("--sms-to", metavar="NUMBER", help="Who gets it by text message. May be repeated.")
]
Offsets: TypeAlias = Annotated[
    list[timedelta] | None,
    typer.Option(
        "--offset",
        parser=parsing.offset,
        metavar="SPAN",
        help="Send so long before: 24h, 15m; after: -1d. May be repeated.",
    ),
]
Zone: TypeAlias = Annotated[str, typer.Option("--time-zone", help="Zone in which times are shown: Europe/Berlin.")]
Title: TypeAlias = Annotated[str, typer.Option(help="What was booked, or is to be paid for.")]
Greeted: TypeAlias = Annotated[str, typer.Option("--recipient-name", help="Whom the message greets.")]
Template: TypeAlias = Annotated[str, typer.Option(help="A template of the server's folder.")]
Data: TypeAlias = Annotated[
    str | None, typer.Option("--data", "-d", metavar="JSON", help="What the template is filled with, a JSON object.")
]
Kind: TypeAlias = Annotated[str, typer.Argument(metavar="booking|payment", help="What it reminds of.")]
Id: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help="The id of the booking or payment.", show_default=False)
]


def _time(what: str) -> typer.models.ArgumentInfo:
    argument: typer.models.ArgumentInfo = typer.Argument(
        parser=parsing.time, metavar="TIME", help=f"{what}: 2030-12-24T18:00:00Z.", show_default=False
    )
    return argument


@app.command("schedule-booking")
def schedule_booking(
    booking_id: Annotated[str, typer.Argument(metavar="BOOKING_ID", help="The booking's id.", show_default=False)],
    booking_time: Annotated[datetime, _time("When it begins")],
    email_to: EmailTo = None,
    sms_to: SmsTo = None,
    offset: Offsets = None,
    title: Title = "",
    location: Annotated[str, typer.Option(help="Where it is.")] = "",
    booking_url: Annotated[str, typer.Option(help="Where it is looked at or changed: https://...")] = "",
    recipient_name: Greeted = "",
    time_zone: Zone = "",
    template: Template = "",
    data: Data = None,
    queue: QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Schedule the reminders of a booking, or move them to another time. Default: 24h, 1h and 15m before."""
    options = _options(email_to, sms_to, offset, title, recipient_name, time_zone, template, data, queue)
    with connected(address) as client:
        made = client.schedule_booking_reminders(
            booking_id, booking_time, location=location, booking_url=booking_url, **options
        )
        _show(made, json)


@app.command("schedule-payment")
def schedule_payment(
    payment_id: Annotated[str, typer.Argument(metavar="PAYMENT_ID", help="The payment's id.", show_default=False)],
    due_time: Annotated[datetime, _time("When it is due")],
    amount_minor: Annotated[int, typer.Option(help="Amount in the smallest unit: cents, yen.", show_default=False)],
    currency: Annotated[str, typer.Option(help="ISO 4217 code: EUR.", show_default=False)],
    email_to: EmailTo = None,
    sms_to: SmsTo = None,
    offset: Offsets = None,
    title: Title = "",
    payment_url: Annotated[str, typer.Option(help="Where to pay: https://...")] = "",
    recipient_name: Greeted = "",
    time_zone: Zone = "",
    template: Template = "",
    data: Data = None,
    queue: QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Schedule the reminders of a payment, or move them. Default: 7d and 1d before it is due, and 1d after."""
    options = _options(email_to, sms_to, offset, title, recipient_name, time_zone, template, data, queue)
    with connected(address) as client:
        made = client.schedule_payment_reminders(
            payment_id, due_time, amount_minor, currency, payment_url=payment_url, **options
        )
        _show(made, json)


@app.command()
def get(kind: Kind, id: Id, queue: QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """Show the reminders of a booking or a payment."""
    [word] = parsing.words(ReminderKind, [kind])
    with connected(address) as client:
        _show(client.get_reminders(word, id, queue=queue), json)


@app.command()
def cancel(
    kind: Kind,
    id: Id,
    reason: Annotated[str, typer.Option(help="Why; kept with the jobs.")] = "",
    queue: QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Cancel what has not been sent."""
    [word] = parsing.words(ReminderKind, [kind])
    with connected(address) as client:
        _show(client.cancel_reminders(word, id, queue=queue, reason=reason), json)


def _options(
    email_to: list[str] | None,
    sms_to: list[str] | None,
    offsets: list[timedelta] | None,
    title: str,
    recipient_name: str,
    time_zone: str,
    template: str,
    data: str | None,
    queue: str,
) -> ReminderOptions:
    options = ReminderOptions(
        queue=queue,
        offsets=offsets or (),
        email_to=email_to or (),
        sms_to=sms_to or (),
        time_zone=time_zone,
        title=title,
        recipient_name=recipient_name,
        template=template,
    )
    if data is not None:
        try:
            options["template_data"] = dict(json_module.loads(data))
        except (TypeError, ValueError, RecursionError) as error:
            raise typer.BadParameter(f"no JSON object: {error}", param_hint="--data") from None
    return options


def _show(found: ReminderSet, json: bool) -> None:
    if json:
        json_lines.print_json(found.message)
    else:
        printing.print_reminders(found)
