"""Where jobs are kept: which store, and its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator
from pydantic.config import JsonDict

from tocsin_server.settings.secret_files import FileSecret
from tocsin_server.settings.values import ByteSize, Duration

#: What a store runs on. A provider is one of these, or the name that the origin has for it.
StoreKind = Literal["embedded", "redis", "mongo"]

KINDS: Final[Mapping[str, StoreKind]] = {
    "embedded": "embedded",
    "redis": "redis",
    "bull": "redis",
    "mongo": "mongo",
    "agenda": "mongo",
}

#: The settings that say where a store is: any of them names its kind where no provider is named.
ADDRESS: Final[Mapping[str, StoreKind]] = {
    "url": "redis",
    "host": "redis",
    "port": "redis",
    "password": "redis",
    "db": "redis",
    "mongodb_url": "mongo",
}

#: The settings that some kinds have no use for, and the kinds that have.
BELONGS: Final[Mapping[str, tuple[StoreKind, ...]]] = {
    **{name: (kind,) for name, kind in ADDRESS.items()},
    "namespace": ("redis", "embedded"),
    "collection": ("mongo",),
    "maxmemory": ("embedded",),
}

_HOST = re.compile(r"[^\s/@?#\[\],]{1,255}")
_MONGODB = re.compile(r"mongodb(\+srv)?://")
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_COLLECTION_CHARACTERS = 100  # MongoDB takes 255 bytes for database and collection together, 120 before 4.4


def _origin(variable: str) -> JsonDict:
    """Marks the environment variable that Tocsin's origin reads for this."""
    return {"origin_variable": variable}


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("write the host's name or number alone; an address with a scheme goes to store.url")
    return text


def _mongodb_url(url: SecretStr) -> SecretStr:
    if not _MONGODB.match(url.get_secret_value()):
        raise ValueError("the address of a MongoDB begins with mongodb:// or mongodb+srv://")
    return url


def _collection(name: str) -> str:
    if len(name) > _COLLECTION_CHARACTERS or not _COLLECTION.fullmatch(name) or name.startswith("system."):
        raise ValueError(
            "a collection's name is 1 to 100 of the characters A-Z a-z 0-9 _ - with single dots between them, begins "
            "with a letter or _, and not with system."
        )
    return name


class StoreSettings(BaseModel, frozen=True, extra="forbid"):
    """Where jobs are kept. Nothing said at all: a Valkey of the server's own, in the data folder."""

    provider: Literal["embedded", "redis", "bull", "mongo", "agenda"] | None = Field(
        default=None,
        description="redis (or bull), mongo (or agenda), or embedded: a Valkey that this server starts. Absent: the "
        "one whose address is given, else embedded.",
        json_schema_extra=_origin("QUEUE_PROVIDER"),
    )
    url: SecretStr | None = Field(
        default=None,
        description="redis://user:password@host:port/db, rediss://, unix:///path, "
        "redis+sentinel://host:port,host:port/service/db or redis+cluster://host:port,host:port. "
        "Goes before host, port, password and db.",
        json_schema_extra=_origin("REDIS_URL"),
    )
    host: Annotated[str, AfterValidator(_host)] | None = Field(
        default=None, description="Redis. Absent: localhost.", json_schema_extra=_origin("REDIS_HOST")
    )
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="Redis. Absent: 6379.", json_schema_extra=_origin("REDIS_PORT")
    )
    password: SecretStr | None = Field(
        default=None, description="Redis. Absent: none.", json_schema_extra=_origin("REDIS_PASSWORD")
    )
    db: int | None = Field(default=None, ge=0, description="Redis. Absent: 0.", json_schema_extra=_origin("REDIS_DB"))
    mongodb_url: Annotated[SecretStr, AfterValidator(_mongodb_url)] | None = Field(
        default=None,
        description="mongodb://user:password@host:port,host:port/database?options or mongodb+srv://. The database is "
        "tocsin where none is named. Absent: mongodb://localhost:27017/tocsin.",
        json_schema_extra=_origin("MONGODB_URL"),
    )
    collection: Annotated[str, AfterValidator(_collection)] = Field(
        default="agenda_jobs",
        description="MongoDB's collection of the jobs; servers with the same one share their jobs.",
        json_schema_extra=_origin("QUEUE_COLLECTION"),
    )
    namespace: str = Field(
        default="tocsin",
        pattern=r"^[A-Za-z0-9._-]{1,50}$",
        description="Every key in Redis begins with it; servers with the same one share their jobs.",
    )
    answer_within: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="An answer of the store later than that counts as none.",
    )
    max_connections: int = Field(default=16, ge=1, le=1_000, description="Commands to the store under way at most.")

    maxmemory: ByteSize | None = Field(
        default=None,
        description="Memory that the embedded store's data may take, as 512MiB or 2GiB; then new jobs are refused "
        "(STORE_FULL). 0: no limit. Absent: half of the memory of this machine, or of its control group.",
    )

    clock: Literal["real", "manual"] = Field(
        default="real",
        description="manual: the store's clock stands in the hand of whoever tests, by ClockService. Said when a store "
        "is made, and never changed: one that was made otherwise is refused. Not on a Redis Cluster.",
    )

    @model_validator(mode="after")
    def _one_store(self) -> StoreSettings:
        if self.provider is None and len(self._named()) > 1:
            raise ValueError("addresses of two stores are given: name the provider, or leave one of them out")
        return self

    def _named(self) -> set[StoreKind]:
        return {kind for name, kind in ADDRESS.items() if getattr(self, name) is not None}

    @property
    def kind(self) -> StoreKind:
        """What the store runs on: the provider's word, else that of the address that is given, else embedded."""
        if self.provider is not None:
            return KINDS[self.provider]
        return next(iter(self._named()), "embedded")

    @property
    def embedded(self) -> bool:
        """The store is started by this server."""
        return self.kind == "embedded"

    @property
    def login_in_file(self) -> bool:
        """The login of a Redis stands in a file, where it may be changed: `address` has it as it is now."""
        return self.kind == "redis" and any(isinstance(secret, FileSecret) for secret in (self.url, self.password))

    def assumed(self) -> Mapping[str, str]:
        """What holds for settings of the address that are absent, by their names; {} where nothing is assumed."""
        if self.kind == "mongo":
            standing = {"mongodb_url": "mongodb://localhost:27017/tocsin"}
        elif self.kind == "redis" and self.url is None:
            standing = {"host": "localhost", "port": "6379", "db": "0"}
        else:
            standing = {}
        return {name: value for name, value in standing.items() if getattr(self, name) is None}

    def address(self) -> str:
        """The address of a store that is not embedded. It may hold a password: show it through show_address only."""
        assumed = self.assumed()
        if self.kind == "mongo":
            return assumed["mongodb_url"] if self.mongodb_url is None else self.mongodb_url.get_secret_value()
        if self.url is not None:
            return self.url.get_secret_value()
        password = f":{quote(self.password.get_secret_value(), safe='')}@" if self.password is not None else ""
        host, port, db = (assumed.get(name, getattr(self, name)) for name in ("host", "port", "db"))
        return f"redis://{password}{f'[{host}]' if ':' in host else host}:{port}/{db}"
