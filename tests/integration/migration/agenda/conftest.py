"""Collections that real Agendas have filled, and what is read from them."""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from support import node_tools
from support.mongo_servers import MongoServer
from tocsin_server.migrate.systems.agenda.reader import DEFAULT_COLLECTION, open_agenda
from tocsin_server.migrate.systems.foreign import Choices, Foreign

Document = dict[str, Any]
SCRIPTS = Path(__file__).parents[3] / "support/node"
LINES = {"4": "Agenda 4", "5": "Agenda 5", "6": "Agenda 6", "hokify": "@hokify/agenda"}

#: Runs a script of support/node with arguments and an input; what it says.
RunNode = Callable[..., str]
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the shared server."""

    server: MongoServer
    name: str

    @property
    def url(self) -> str:
        """Its address; the client asks no other server."""
        return self.url_at(self.server.port)

    def url_at(self, port: int) -> str:
        """The same by way of another port."""
        return f"mongodb://127.0.0.1:{port}/{self.name}?directConnection=true"

    def everything(self) -> Mapping[str, Any]:
        """Its collections with options and indexes, and each document byte for byte."""
        found: dict[str, Any] = {}
        with MongoClient[RawBSONDocument](self.url, document_class=RawBSONDocument) as client:
            for collection in client[self.name].list_collections():
                one = client[self.name][str(collection["name"])]
                documents = [document.raw for document in one.find()]
                found[one.name] = (dict(collection), list(one.list_indexes()), documents)
        return found

    def insert(self, *documents: Any, collection: str = DEFAULT_COLLECTION) -> None:
        """Put documents, or their BSON, into the collection."""
        ready = [RawBSONDocument(one) if isinstance(one, bytes) else one for one in documents]
        with self.server.client() as client:
            client[self.name][collection].insert_many(ready)


@dataclass(frozen=True, slots=True)
class Scene:
    """A database whose Agenda has jobs in every state. `ids`: of each by its role in agenda_scene.mjs."""

    database: Database
    line: str
    ids: Mapping[str, str]


class Reading:
    """What was read from a collection, in order."""

    def __init__(self, found: list[Foreign], ids: Mapping[str, str]) -> None:
        self.found = found
        self._roles = {source_id: role for role, source_id in ids.items()}

    @property
    def roles(self) -> list[str]:
        """The roles in the order in which they were read."""
        return [self._roles[one.source_id] for one in self.found]

    def by_role(self) -> dict[str, Foreign]:
        """What was found, each once."""
        assert len(set(self.roles)) == len(self.roles)
        return dict(zip(self.roles, self.found, strict=True))


#: The driver drops the socket of a connection that its monitor was making when it was closed.
DROPPED_BY_THE_DRIVER = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _sockets_are_gone() -> Iterator[None]:
    """Such a socket is found in the test that left it, which knows of it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def run_node(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> RunNode:
    """See RunNode. The scripts stand beside the packages, as a user's would."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(npm_packages)
    for script in SCRIPTS.glob("*.mjs"):
        (folder / script.name).write_text(script.read_text())

    def run(script: str, *arguments: str, said: str = "") -> str:
        command = [node_tools.node(), str(folder / script), *arguments]
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def database(mongo_server: MongoServer) -> Iterator[Database]:
    """An empty database of this test's own."""
    one = Database(mongo_server, f"source_{next(_serial)}")
    yield one
    with mongo_server.client() as client:
        client.drop_database(one.name)


@pytest.fixture(scope="session", params=LINES, ids=LINES.get)
def scene(request: pytest.FixtureRequest, mongo_server: MongoServer, run_node: RunNode) -> Scene:
    """See Scene, of each line in turn. Shared: nobody changes it."""
    # Made anew where files that share it do not run one after another: never in what an earlier one left.
    database = Database(mongo_server, f"agenda_{request.param}_{next(_serial)}")
    said = run_node("agenda_scene.mjs", request.param, database.url, DEFAULT_COLLECTION)
    return Scene(database, request.param, json.loads(said))


async def read(url: str, choices: Choices | None = None, **options: str) -> list[Foreign]:
    """All that stands at an address."""
    async with open_agenda(url, choices or Choices(), **options) as queue, aclosing(queue.read()) as found:  # type: ignore[type-var]
        return [one async for one in found]
