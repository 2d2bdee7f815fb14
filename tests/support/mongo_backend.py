"""A database of a server that speaks the wire protocol of MongoDB, for whole servers, and what tests ask it."""

from __future__ import annotations

import hashlib
from collections import Counter

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from support.mongo_servers import MongoServer

#: Where jobs are, unless a setting names another collection.
JOBS = "agenda_jobs"


class MongoBackend:
    """A database of a test's own. A context manager; it is dropped at the end."""

    provider = "mongo"

    def __init__(self, server: MongoServer, name: str) -> None:
        self._server, self._name = server, name
        self.url = self.url_at(server.port)

    def __enter__(self) -> MongoBackend:
        self._client: MongoClient[RawBSONDocument] = MongoClient(self.url, document_class=RawBSONDocument)
        self._database = self._client[self._name]
        return self

    def __exit__(self, *_: object) -> None:
        self._client.drop_database(self._name)
        self._client.close()

    @property
    def port(self) -> int:
        """Where the server listens, on 127.0.0.1."""
        return self._server.port

    def url_at(self, port: int) -> str:
        """The address for MONGODB_URL by way of another port; the client goes nowhere else, whatever it is told."""
        return f"mongodb://127.0.0.1:{port}/{self._name}?directConnection=true"

    def calls(self) -> Counter[str]:
        """How often each kind of command was called since the server's start, by all its clients."""
        status = self._client.admin.command("serverStatus")
        return Counter({name: int(count) for name, count in status["opcounters"].items()})

    def empty(self) -> None:
        """dropDatabase: indexes go, too."""
        self._client.drop_database(self._name)

    def dump(self) -> dict[bytes, str]:
        """A fingerprint of every document: two equal dumps are two equal stores."""
        return {
            f"{name}/{document['_id']}".encode(): hashlib.sha256(document.raw).hexdigest()
            for name in sorted(self._database.list_collection_names())
            for document in self._database[name].find()
        }
