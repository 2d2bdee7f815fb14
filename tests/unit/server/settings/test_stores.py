"""Which store the settings choose, where several are at hand, and its address."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loaded_settings import refused, settings
from tocsin_server.settings import Flag, StoreSettings

REDIS_FLAG = Flag("--redis-url", "store.url", "redis://flag")
MONGO_FLAG = Flag("--mongodb-url", "store.mongodb_url", "mongodb://flag")
LOCAL_REDIS = "redis://localhost:6379/0"
LOCAL_MONGO = "mongodb://localhost:27017/tocsin"
BOTH = {"REDIS_HOST": "r", "REDIS_PASSWORD": "p", "MONGODB_URL": "mongodb://m/shop", "QUEUE_COLLECTION": "jobs"}


def test_nothing_said_is_the_embedded_store() -> None:
    assert settings().store.kind == "embedded"
    assert settings(TOCSIN_STORE__NAMESPACE="shop", QUEUE_COLLECTION="jobs").store.kind == "embedded"


@pytest.mark.parametrize(
    ("environ", "kind", "address"),
    [
        # A provider without an address takes the default one.
        ({"QUEUE_PROVIDER": "redis"}, "redis", LOCAL_REDIS),
        ({"QUEUE_PROVIDER": "bull"}, "redis", LOCAL_REDIS),
        ({"QUEUE_PROVIDER": "mongo"}, "mongo", LOCAL_MONGO),
        ({"QUEUE_PROVIDER": "agenda"}, "mongo", LOCAL_MONGO),
        # An address without a provider means the store it is one of.
        ({"REDIS_HOST": "r.example"}, "redis", "redis://r.example:6379/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "7"}, "redis", "redis://[::1]:7/0"),
        ({"REDIS_PORT": "7000", "REDIS_DB": "3"}, "redis", "redis://localhost:7000/3"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "p@s/s:w"}, "redis", "redis://:p%40s%2Fs%3Aw@h:6379/0"),
        ({"REDIS_URL": "rediss://h:1/2", "REDIS_HOST": "other"}, "redis", "rediss://h:1/2"),
        ({"REDIS_URL": "redis://old", "TOCSIN_STORE__URL": "redis://new"}, "redis", "redis://new"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": ""}, "redis", "redis://r:6379/0"),
        ({"MONGODB_URL": "mongodb://a,b/shop?w=1"}, "mongo", "mongodb://a,b/shop?w=1"),
        ({"MONGODB_URL": "mongodb+srv://c.example"}, "mongo", "mongodb+srv://c.example"),
        # Kubernetes sets these near Services named redis and mongodb.
        ({"REDIS_HOST": "r", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "redis", "redis://r:6379/0"),
        ({"MONGODB_URL": "mongodb://m", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "mongo", "mongodb://m"),
        ({"REDIS_URL": "redis://r", "MONGODB_PORT": "tcp://10.0.0.1:27017"}, "redis", "redis://r"),
        # The origin's files hold both, and a provider.
        ({**BOTH, "QUEUE_PROVIDER": "bull"}, "redis", "redis://:p@r:6379/0"),
        ({**BOTH, "QUEUE_PROVIDER": "agenda"}, "mongo", "mongodb://m/shop"),
    ],
)
def test_the_variables_of_the_origin_keep_working(environ: dict[str, str], kind: str, address: str) -> None:
    store = settings(**environ).store
    assert (store.kind, store.address()) == (kind, address)


@pytest.mark.parametrize("port", ["tcp://10.0.0.1:6379", "udp://10.0.0.1:6379"])
def test_a_service_link_of_kubernetes_alone_names_no_store(port: str) -> None:
    assert settings(REDIS_PORT=port).store.kind == "embedded"


def test_the_collection_is_the_origins_unless_another_is_named() -> None:
    assert settings(QUEUE_PROVIDER="mongo").store.collection == "agenda_jobs"
    assert settings(QUEUE_PROVIDER="mongo", QUEUE_COLLECTION="jobs").store.collection == "jobs"


@pytest.mark.parametrize("redis", [{"REDIS_URL": "redis://r"}, {"REDIS_PORT": "6379"}, {"REDIS_PASSWORD": "p"}])
def test_addresses_of_two_stores_and_no_provider_are_refused_with_the_way_out(redis: dict[str, str]) -> None:
    [variable] = redis
    assert refused(MONGODB_URL="mongodb://m", **redis) == (
        f"{variable} and MONGODB_URL name two stores: set QUEUE_PROVIDER to redis or to mongo",
    )


def test_the_address_of_one_store_in_the_file_and_of_another_in_a_variable_is_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('[store]\nmongodb_url = "mongodb://m"\n')
    [line] = refused(config=file, REDIS_HOST="r")
    assert line.startswith(f"REDIS_HOST and store.mongodb_url in {file} name two stores: ")
    file.write_text('[store]\nprovider = "mongo"\nmongodb_url = "mongodb://m"\n')
    assert settings(config=file, REDIS_HOST="r").store.kind == "mongo"
    assert settings(config=file, REDIS_HOST="r", QUEUE_PROVIDER="redis").store.kind == "redis"


def test_an_address_by_flag_decides_over_leftovers_of_the_other_store() -> None:
    assert settings(REDIS_FLAG, MONGODB_URL="mongodb://m").store.address() == "redis://flag"
    assert settings(MONGO_FLAG, REDIS_URL="redis://r", REDIS_HOST="h").store.address() == "mongodb://flag"


def test_two_stores_by_flag_are_refused() -> None:
    [line] = refused(REDIS_FLAG, MONGO_FLAG)
    assert line == "--redis-url and --mongodb-url name two stores: leave one of them out"


@pytest.mark.parametrize(
    ("flag", "environ", "line"),
    [
        (REDIS_FLAG, {"QUEUE_PROVIDER": "agenda"}, "for redis only, but QUEUE_PROVIDER says mongo"),
        (MONGO_FLAG, {"QUEUE_PROVIDER": "redis"}, "for mongo only, but QUEUE_PROVIDER says redis"),
        (MONGO_FLAG, {"TOCSIN_STORE__PROVIDER": "embedded"}, "but TOCSIN_STORE__PROVIDER says embedded"),
        (
            Flag("--collection", "store.collection", "c"),
            {"REDIS_HOST": "r"},
            "for mongo only, but REDIS_HOST says redis",
        ),
        (Flag("--collection", "store.collection", "c"), {}, "no store is named, which means embedded; name one with"),
        (Flag("--namespace", "store.namespace", "n"), {"MONGODB_URL": "mongodb://m"}, "for redis or embedded only"),
    ],
)
def test_a_flag_of_another_store_is_refused(flag: Flag, environ: dict[str, str], line: str) -> None:
    [said] = refused(flag, **environ)
    assert said.startswith(f"{flag.name}: ")
    assert line in said


def test_what_the_chosen_store_has_no_use_for_is_not_even_looked_at() -> None:
    wrong_redis = {"REDIS_PORT": "x", "REDIS_DB": "-1", "REDIS_HOST": "a b", "REDIS_URL": "?"}
    assert settings(QUEUE_PROVIDER="mongo", **wrong_redis).store.address() == LOCAL_MONGO
    wrong_mongo = {"MONGODB_URL": "?", "QUEUE_COLLECTION": "$"}
    assert settings(QUEUE_PROVIDER="redis", **wrong_mongo).store.address() == LOCAL_REDIS
    assert settings(QUEUE_PROVIDER="embedded", **wrong_mongo, **wrong_redis).store.embedded
    assert settings(REDIS_URL="redis://r", REDIS_PORT="x").store.address() == "redis://r"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"QUEUE_PROVIDER": "mongodb", "REDIS_PORT": "x"}, "QUEUE_PROVIDER: input should be 'embedded', 'redis', "),
        ({"MONGODB_URL": "localhost:27017"}, "MONGODB_URL: the address of a MongoDB begins with mongodb:// or "),
        ({"MONGODB_URL": "redis://m"}, "MONGODB_URL: the address of a MongoDB begins with mongodb:// or "),
        ({"REDIS_HOST": "redis://r"}, "REDIS_HOST: write the host's name or number alone"),
        ({"REDIS_PORT": "x"}, "REDIS_PORT: input should be a valid integer"),
        ({"REDIS_DB": "-1"}, "REDIS_DB: input should be greater than or equal to 0"),
        ({"QUEUE_PROVIDER": "mongo", "QUEUE_COLLECTION": "a$"}, "QUEUE_COLLECTION: a collection's name is 1 to 100 of"),
    ],
)
def test_a_wrong_value_of_the_chosen_store_is_one_line_that_names_the_variable(
    environ: dict[str, str], line: str
) -> None:
    [said] = refused(**environ)
    assert said.startswith(line)


def test_settings_made_by_keyword_choose_the_same_way() -> None:
    assert StoreSettings(provider="agenda").address() == LOCAL_MONGO
    with pytest.raises(ValueError, match="two stores"):
        StoreSettings.model_validate({"host": "r", "mongodb_url": "mongodb://m"})
