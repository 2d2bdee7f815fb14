"""TLS and who may call: what must be said together, and what a client's variables are not taken for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loaded_settings import refused, settings

TLS = {"TOCSIN_TLS__CERT_FILE": "c", "TOCSIN_TLS__KEY_FILE": "k"}
JWT = {
    "TOCSIN_AUTH__PRINCIPALS_FILE": "p",
    "TOCSIN_AUTH__JWT__KEYS": "https://id.example/keys",
    "TOCSIN_AUTH__JWT__ISSUER": "i",
    "TOCSIN_AUTH__JWT__AUDIENCE": "a",
}


def test_all_of_it_is_read_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "tocsin.toml"
    config.write_text(
        'health_listen = "0.0.0.0:1"\n[tls]\ncert_file = "c"\nkey_file = "k"\nclient_ca_file = "ca"\n'
        '[auth]\nprincipals_file = "p"\n[auth.jwt]\nkeys = "keys.json"\nissuer = "i"\naudience = "a"\n'
        'algorithms = ["EdDSA"]\nrefresh = "5m"\n'
    )
    read = settings(config=config)
    assert read.tls.client_ca_file == Path("ca")
    assert (read.auth.jwt.keys, read.auth.jwt.algorithms) == ("keys.json", ("EdDSA",))
    assert read.health_listen == "0.0.0.0:1"


def test_variables_reach_groups_within_groups() -> None:
    read = settings(**JWT, TOCSIN_AUTH__JWT__ALGORITHMS="RS256,ES384")
    assert read.auth.jwt.algorithms == ("RS256", "ES384")


@pytest.mark.parametrize("missing", [*TLS, *(name for name in JWT if not name.endswith("KEYS"))])
def test_half_of_it_is_refused_with_one_line(missing: str) -> None:
    whole = TLS if missing in TLS else JWT
    [line] = refused(**{name: value for name, value in whole.items() if name != missing})
    assert "together" in line or "beside" in line


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS1"])
def test_signatures_by_a_shared_secret_cannot_be_asked_for(algorithm: str) -> None:
    [line] = refused(**JWT, TOCSIN_AUTH__JWT__ALGORITHMS=algorithm)
    assert line.startswith("TOCSIN_AUTH__JWT__ALGORITHMS, item 1: ")


def test_keys_come_from_a_file_or_by_https() -> None:
    [line] = refused(**{**JWT, "TOCSIN_AUTH__JWT__KEYS": "http://id.example/keys"})
    assert "https://" in line


def test_a_client_s_variables_are_none_of_the_server_s_and_typing_errors_are_told() -> None:
    settings(TOCSIN_TOKEN="t", TOCSIN_TLS="1", TOCSIN_TLS__CA="c", TOCSIN_TLS__KEY="k", TOCSIN_TLS__SERVER_NAME="n")
    [line] = refused(TOCSIN_TLS__CERTFILE="c")
    assert "did you mean TOCSIN_TLS__CERT_FILE?" in line
