"""Notes in MongoDB go by themselves: the server's TTL index drops them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from support.mongo_servers import MongoServer
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.store import MongoStore


async def test_a_note_bears_its_time_and_an_index_drops_it_then(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    store = MongoStore(MongoConnection(server.url), "jobs")
    try:
        await store.open()
        until = await store.ping() + timedelta(hours=1)
        assert await store.write_note("q", "a", b"x", revision=0, until=until)
        with server.client() as client:
            notes = client.get_default_database()["jobs.notes"]
            assert notes.index_information()["until"] == {
                **notes.index_information()["until"],
                "key": [("until", 1)],
                "expireAfterSeconds": 0,
            }
            [note] = notes.find()
        assert note["until"] == until
    finally:
        await store.close()
        server.stop()
