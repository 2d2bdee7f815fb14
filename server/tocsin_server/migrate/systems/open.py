"""The systems that jobs are brought over from."""

from __future__ import annotations

from tocsin_server.migrate.systems.agenda.reader import open_agenda
from tocsin_server.migrate.systems.bull.reader import open_bull
from tocsin_server.migrate.systems.bullmq.reader import open_bullmq
from tocsin_server.migrate.systems.foreign import Choices, Opened

SYSTEMS = ("bull", "bullmq", "agenda")
#: Where each one's rights are written, and where those of a store of ours are, which its driver speaks of.
PAGES = {"bull": "docs/from-bull.md", "bullmq": "docs/from-bull.md", "agenda": "docs/from-agenda.md"}
PAGE_OF_STORE = "docs/redis.md"


def open_system(system: str, address: str, choices: Choices, *, prefix: str, collection: str) -> Opened:
    """A reader of one of SYSTEMS. `prefix` is Bull's and BullMQ's, `collection` Agenda's."""
    match system:
        case "bull":
            return open_bull(address, choices, prefix=prefix)
        case "bullmq":
            return open_bullmq(address, choices, prefix=prefix)
        case _:
            queue = choices.queues[0] if choices.queues else "default"
            return open_agenda(address, choices, collection=collection, queue=queue)
