"""What is shown of settings: where each came from, why one is not used, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loaded_settings import refused, settings
from tocsin_server.settings import Origin, load, secrets_of
from tocsin_server.telemetry.redaction import secrets_in_url

PLANTED = "s3cr3t-planted"


def shown(config: Path | None = None, **environ: str) -> dict[str, Origin]:
    return {origin.setting: origin for origin in load([], environ, config).origins}


def test_the_store_is_named_with_what_chose_it_and_its_defaults_are_filled_in() -> None:
    got = shown(REDIS_HOST="r")
    assert (got["store.provider"].shown, got["store.provider"].source) == ("redis", "REDIS_HOST")
    assert (got["store.port"].shown, got["store.port"].source) == ("6379", "default")
    assert got["store.collection"].shown == "-"
    got = shown(QUEUE_PROVIDER="agenda")
    assert (got["store.provider"].shown, got["store.provider"].source) == ("agenda", "QUEUE_PROVIDER")
    assert got["store.mongodb_url"].shown == "mongodb://localhost:27017/tocsin"
    assert (got["store.collection"].shown, got["store.host"].shown) == ("agenda_jobs", "-")
    got = shown()
    assert (got["store.provider"].shown, got["store.provider"].source) == ("embedded", "default")
    assert got["store.host"].shown == "-"


def test_what_was_given_and_is_not_used_is_shown_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('[store]\ncollection = "jobs"\n')
    got = shown(file, QUEUE_PROVIDER="bull", REDIS_URL="redis://r", REDIS_PORT="7", MONGODB_URL="mongodb://m")
    assert got["store.mongodb_url"] == Origin(
        "store.mongodb_url", "mongodb://m", "MONGODB_URL", unused="QUEUE_PROVIDER says redis"
    )
    assert got["store.collection"].unused == "QUEUE_PROVIDER says redis"
    assert (got["store.port"].shown, got["store.port"].unused) == ("7", "REDIS_URL goes before it")
    assert got["store.url"].unused == got["store.provider"].unused == got["tick"].unused == ""


@pytest.mark.parametrize("provider", ["redis", "mongo", "embedded"])
def test_no_secret_is_shown_whether_it_is_used_or_not(provider: str) -> None:
    loaded = load(
        [],
        {
            "QUEUE_PROVIDER": provider,
            "REDIS_URL": f"redis://ada:{PLANTED}@h:1/0",
            "REDIS_PASSWORD": f"://{PLANTED}/@",
            "MONGODB_URL": f"mongodb://bob:{PLANTED}@h:1,i:2/db?tls=true&tlsCertificateKeyFilePassword={PLANTED}"
            f"&proxyPassword={PLANTED}&authMechanismProperties=AWS_SESSION_TOKEN:{PLANTED}",
            "TOCSIN_MAIL__TRANSPORT": f"smtp://bob:{PLANTED}@h",
        },
    )
    got = {origin.setting: origin.shown for origin in loaded.origins}
    assert got["store.url"] == "redis://ada:***@h:1/0"
    assert got["store.password"] == "***"
    assert got["store.mongodb_url"] == (
        "mongodb://bob:***@h:1,i:2/db?tls=true&tlsCertificateKeyFilePassword=***"
        "&proxyPassword=***&authMechanismProperties=***"
    )
    assert got["mail.transport"] == "smtp://bob:***@h"
    assert PLANTED not in repr(loaded) + str(loaded.settings) + loaded.settings.model_dump_json()


def test_an_address_that_is_not_used_and_is_none_may_be_a_secret_and_is_hidden() -> None:
    got = shown(QUEUE_PROVIDER="embedded", REDIS_URL=PLANTED, MONGODB_URL=PLANTED, REDIS_HOST=f"redis://:{PLANTED}@h")
    assert PLANTED not in repr(got)


def test_a_wrong_secret_is_not_repeated() -> None:
    for environ in (
        {"REDIS_PORT": PLANTED, "REDIS_HOST": f"redis://:{PLANTED}@h", "REDIS_DB": PLANTED},
        {"MONGODB_URL": f"mongo://u:{PLANTED}@h", "QUEUE_COLLECTION": f"${PLANTED}"},
        {"MONGODB_URL": f"mongodb://u:{PLANTED}@h", "REDIS_URL": f"redis://:{PLANTED}@h"},
        {"QUEUE_PROVIDER": PLANTED},
    ):
        assert PLANTED not in "".join(refused(**environ))


def test_all_passwords_are_known_to_who_must_hide_them() -> None:
    mail = {"TOCSIN_MAIL__TRANSPORT": "smtp://bob:three@h"}
    assert set(secrets_of(settings(REDIS_URL="redis://ada:one%2F1@h", **mail))) == {"one%2F1", "one/1", "three"}
    assert set(secrets_of(settings(REDIS_HOST="h", REDIS_PASSWORD="two22", **mail))) == {"two22", "three"}
    url = "mongodb://u:four@h/?tlsCertificateKeyFilePassword=fi%40ve"
    assert set(secrets_of(settings(MONGODB_URL=url))) == {"four", "fi%40ve", "fi@ve"}


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("redis://h:1/0", set()),
        ("unix:///s.sock?db=0&password=pw", {"pw"}),
        ("redis+sentinel://:one@a:1,b:2/main?sentinel_password=two", {"one", "two"}),
        ("mongodb://u:o%25ne@h/?a=1;proxyPassword=two", {"o%25ne", "o%ne", "two"}),
        ("redis://u:pa@ss/word@h", {"pa@ss/word", "pa"}),  # not quoted, so either may be meant
    ],
)
def test_the_secrets_of_an_address_are_found_as_written_and_as_meant(url: str, secrets: set[str]) -> None:
    assert set(secrets_in_url(url)) == secrets
