"""Three days of an application, as the examples' `days` are: `python -m support.three_days`."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

from tocsin import Client, RetryPolicy

from support.lost_worker import lose_worker

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def main() -> None:
    """Print what ran, in order, and how long it really took."""
    queue, address = os.environ["TOCSIN_QUEUE"], os.environ["TOCSIN_SERVER"]
    with Client(address) as client:
        now = client.clock.get().now
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
        client.clock.advance(to=midnight)
        began = time.monotonic()

        client.schedule_booking_reminders("42", midnight + 3 * DAY, queue=queue, email_to=["ada@example.com"])
        client.schedules.create("clean-up", cron="0 3 * * *", type="conformance.echo", queue=queue)
        ladder = RetryPolicy(max_attempts=3, backoff="EXPONENTIAL", initial_delay=HOUR, max_delay=DAY, jitter=0)
        twice = {"attempts": 2, "type": "Busy", "message": "try later"}
        client.schedule("conformance.fail", twice, queue=queue, delay=10 * HOUR, retry=ladder)
        client.schedule("orphan", queue=queue, job_id="orphan")
        lose_worker(address, queue, "orphan")

        for run in client.clock.advance(to=midnight + 3 * DAY).ran:
            sys.stdout.write(f"{run.due_time:%d %H:%M} {run.type} {run.attempt} {run.state.value} {run.error}\n")
        sys.stdout.write(f"{1000 * (time.monotonic() - began):.0f} ms\n")

        client.schedules.delete("clean-up", queue=queue)
        client.cancel("orphan", queue=queue)
        client.delete("orphan", queue=queue)


if __name__ == "__main__":
    main()
