"""Schedules many jobs, as the examples' `many` do: `python -m support.schedules_many COUNT MS SPREAD_MS`."""

from __future__ import annotations

import os
import sys

from tocsin import Client, Unavailable


def main(count: int, ms: int, spread_ms: int) -> None:
    """Schedule them, each until a server has answered."""
    clients = [Client(address) for address in os.environ["TOCSIN_SERVER"].split(",")]
    server = 0
    for n in range(count):
        delay_ms = spread_ms * n // count
        while True:
            try:
                clients[server % len(clients)].schedule(
                    "conformance.sleep",
                    {"ms": ms},
                    queue=os.environ["TOCSIN_QUEUE"],
                    job_id=f"python-{n}-{delay_ms}",
                    delay=delay_ms / 1000,
                    on_conflict="KEEP",
                    deadline=5,
                )
                break
            except Unavailable:
                server += 1
    for client in clients:
        client.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
