"""Certificates that are read belong to their key, and say when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.certificates import DAY, Authority
from tocsin_server.security.certificates import read_certificates
from tocsin_server.security.reloading import Unusable


def test_a_pair_is_read_with_the_end_of_the_first_that_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, shorter = authority.sign("server"), authority.sign("between", expires=40 * DAY)
    pair.cert.write_bytes(pair.cert.read_bytes() + shorter.cert.read_bytes())
    read = read_certificates(pair.cert, pair.key, authority.ca)
    assert read.client_ca == authority.ca.read_bytes()
    assert timedelta(days=39) < read.expires - datetime.now(UTC) <= timedelta(days=40)
    assert read.key.decode() not in repr(read)
    assert "PRIVATE" not in repr(read)


def test_its_end_is_warned_of_thirty_days_ahead(tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign("server", expires=40 * DAY)
    read = read_certificates(pair.cert, pair.key, None)
    assert read.warning() == ""
    assert "expires in 29 days" in read.warning(datetime.now(UTC) + timedelta(days=10, hours=1))
    assert "has expired" in read.warning(datetime.now(UTC) + 41 * DAY)


def test_each_way_to_be_wrong_is_said_in_one_line_that_names_the_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, other = authority.sign("server"), authority.sign("other")
    encrypted = tmp_path / "encrypted.key"
    secret = load_pem_private_key(pair.key.read_bytes(), None)
    encrypted.touch(0o600)
    encrypted.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"p")))
    open_key = tmp_path / "open.key"
    open_key.write_bytes(pair.key.read_bytes())
    open_key.chmod(0o640)
    broken = tmp_path / "broken.pem"
    broken.write_bytes(pair.cert.read_bytes()[:200])
    broken.chmod(0o600)
    cases = [
        ((pair.cert, other.key, None), r"other.key is not the key of the first certificate in .*server.pem"),
        ((pair.cert, encrypted, None), r"encrypted.key is encrypted"),
        ((pair.cert, pair.cert, None), r"server.pem is no private key"),
        ((pair.cert, open_key, None), r"open.key can be read by others"),
        ((broken, pair.key, None), r"broken.pem holds no certificate"),
        ((pair.cert, pair.key, broken), r"broken.pem holds no certificate"),
        ((tmp_path / "gone", pair.key, None), r"gone cannot be read"),
    ]
    for files, words in cases:
        with pytest.raises(Unusable, match=words) as refused:
            read_certificates(*files)
        assert "\n" not in str(refused.value)
