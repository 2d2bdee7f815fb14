"""The file of principals: what is written into it is read back, and what is wrong with one is said in a line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tocsin_server.security.principals import ClientLimits, Scope, hash_of, parse_principals, read_principals
from tocsin_server.security.principals_file import create_token, revoke_token
from tocsin_server.security.reloading import Unusable

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
HASH = "a" * 64


def test_a_token_is_kept_as_its_hash_and_found_by_it(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    secret, token = create_token(path, "shop", [Scope.SCHEDULE, Scope.READ], SOON)
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    principal, kept = read_principals(path).by_hash[hash_of(secret)]
    assert (principal.name, principal.scopes) == ("shop", {Scope.SCHEDULE, Scope.READ})
    assert kept == token
    assert kept.expires == SOON


def test_several_tokens_stand_beside_each_other_until_one_is_revoked(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    first, old = create_token(path, "shop", [Scope.READ], None)
    second, _ = create_token(path, "shop", [], SOON)
    third, _ = create_token(path, "desk", [Scope.OPERATE], None)
    assert {hash_of(one) for one in (first, second, third)} == set(read_principals(path).by_hash)
    assert revoke_token(path, old.id) == "shop"
    assert {hash_of(second), hash_of(third)} == set(read_principals(path).by_hash)
    with pytest.raises(Unusable, match="no token"):
        revoke_token(path, old.id)


def test_what_a_person_wrote_into_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    path.write_text(
        '[[principal]]\nname = "w"\nscopes = ["work"]\nsubjects = ["s"]\n'
        'certificates = ["w.internal", "spiffe://a/\\"b"]\nlimits = {per_second = 50, request_bytes = 1000000}\n'
    )
    path.chmod(0o640)
    create_token(path, "w", [], None)
    read = read_principals(path)
    assert read.by_certificate.keys() == {"w.internal", 'spiffe://a/"b'}
    assert read.by_subject["s"].scopes == {Scope.WORK}
    assert read.by_subject["s"].limits == ClientLimits(per_second=50, request_bytes=1_000_000)
    assert path.stat().st_mode & 0o777 == 0o640


def test_queues_are_names_and_beginnings_of_names(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    create_token(path, "shop", [Scope.READ], None, ("orders", "mail.*"))
    create_token(path, "shop", [], None)
    create_token(path, "root", [Scope.READ], None)
    shop, root = read_principals(path).each
    assert [shop.reaches(name) for name in ("orders", "mail.de", "mail.")] == [True] * 3
    assert [shop.reaches(name) for name in ("orders2", "mail", "Orders", "default", "")] == [False] * 5
    assert root.reaches("orders")
    with pytest.raises(Unusable, match="has other queues"):
        create_token(path, "shop", [], None, ("orders",))


def test_scopes_are_said_for_a_new_principal_and_for_no_other(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    with pytest.raises(Unusable, match="say --scopes"):
        create_token(path, "shop", [], None)
    create_token(path, "shop", [Scope.READ], None)
    create_token(path, "shop", [Scope.READ], None)
    with pytest.raises(Unusable, match="has the scopes read in"):
        create_token(path, "shop", [Scope.READ, Scope.ADMIN], None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "is no TOML"),
        ("[principals]", "'principals' means nothing here"),
        ("[[principal]]\nscopes = []", "has a name"),
        ('[[principal]]\nname = "a b"', "has a name"),
        ('[[principal]]\nname = "a"\nscopes = ["root"]', "principal a: there is no scope 'root'; there are read, "),
        ('[[principal]]\nname = "a"\nscopes = "read"', "principal a: scopes is a list"),
        ('[[principal]]\nname = "a"\nqueues = ["*.mail"]', "principal a: '*.mail' is no queue"),
        ('[[principal]]\nname = "a"\nlimits = 5', "principal a: limits is a table"),
        ('[[principal]]\nname = "a"\nlimits = {watch = 5}', "principal a: 'watch' means nothing here; there are per_"),
        ('[[principal]]\nname = "a"\nlimits = {open = 0}', "principal a: limits.open is a whole number from 1 to"),
        ('[[principal]]\nname = "a"\nscope = []', "principal a: 'scope' means nothing here"),
        ('[[principal]]\nname = "a"\n[[principal]]\nname = "a"', "the name 'a' is there twice"),
        ('[[principal]]\nname = "a"\n[[principal.token]]\nid = "1"', "a token's id"),
        ('[[principal]]\nname = "a"\n[[principal.token]]\nid = "123456"\nsha256 = "SECRET"', "token 123456: sha256"),
        (
            f'[[principal]]\nname = "a"\n[[principal.token]]\nid = "123456"\nsha256 = "{HASH}"\nexpires = "soon"',
            "token 123456: expires is a time",
        ),
        (
            '[[principal]]\nname = "a"\ncertificates = ["x"]\n[[principal]]\nname = "b"\ncertificates = ["x"]',
            "the certificate 'x' is there twice",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(Unusable) as refused:
        parse_principals(text.encode(), "p.toml")
    assert str(refused.value).startswith("p.toml")
    assert words in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    path.write_text("")
    path.chmod(0o664)
    with pytest.raises(Unusable, match=r"can be written by others than its owner \(mode 0664\)"):
        read_principals(path)
