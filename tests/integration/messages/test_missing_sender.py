"""A way out without a sender: reminders can name none, so somebody must be told before they are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from support.eventually import until
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client


def test_a_missing_sender_is_told_at_the_start_in_health_and_where_a_set_is_scheduled(
    serve: Callable[..., Server], store: StoreBackend, tmp_path: Path
) -> None:
    ways = {"TOCSIN_MAIL__TRANSPORT": f"file:{tmp_path / 'out'}", "TOCSIN_SMS__URL": "https://sms.example.com/post"}
    server = serve(store.url, **ways)
    assert "set mail.sender" in server.said()
    assert "set sms.sender" in server.said()
    with Client(server.address) as client:
        until(lambda: client.queue_health("default").workers, within=20)
        warnings = client.queue_health("default").warnings
        assert any("set mail.sender" in one and "booking_reminder" in one for one in warnings)
        assert any("set sms.sender" in one and "payment_reminder" in one for one in warnings)
        start = datetime(2099, 12, 24, 18, tzinfo=UTC)
        made = client.schedule_booking_reminders("42", start, email_to=["ada@example.com"])
        assert any("set mail.sender" in one for one in made.warnings)
        assert client.cancel_reminders("BOOKING", "42").warnings == ()
