"""Servers that ask who calls: tokens made, replaced and revoked by the command line, names in client certificates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jwt.algorithms import ECAlgorithm
from support.certificates import Authority
from support.eventually import until
from support.ports import free_port
from support.servers import Server
from tocsin import Client, Handlers, PermissionDenied, Tls, TocsinError, Unauthenticated, Worker
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token, revoke_token

REVOKED_WITHIN = 5.0  # seconds
SCOPES = (Scope.READ, Scope.READ_PAYLOAD, Scope.SCHEDULE, Scope.OPERATE)


class House:
    """A server and its file of principals."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder, self.file = folder, folder / "principals.toml"
        self.env = {"TOCSIN_AUTH__PRINCIPALS_FILE": str(self.file), "TOCSIN_LOG__LEVEL": "debug", **env}
        self.server = Server(
            folder, ["--no-dispatch"], self.env, health_port=free_port() if "TOCSIN_TLS__KEY_FILE" in env else 0
        )

    def command(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """`tocsin token ...`."""
        done = subprocess.run(
            [sys.executable, "-m", "tocsin.cli.main", "token", *arguments],
            env={**os.environ, **self.env},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done
        return done

    def create(self, name: str, *scopes: Scope) -> tuple[str, str]:
        """A token in clear, and its id, as the command would make it."""
        secret, token = create_token(self.file, name, scopes, None)
        return secret, token.id

    def client(self, token: str) -> Client:
        return Client(self.server.address, tls=False, token=token, deadline=10, retries=False)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A running server to which `shop` may come."""
    house = House(tmp_path)
    house.create("shop", *SCOPES)
    try:
        house.server.start()
        yield house
    finally:
        house.server.kill()


def refused(call: Callable[[], object]) -> TocsinError | None:
    try:
        call()
    except (Unauthenticated, PermissionDenied) as error:
        return error
    return None


def test_a_token_is_replaced_without_a_gap_and_then_revoked(house: House) -> None:
    old, old_id = house.create("shop")
    with house.client(old) as before:
        until(lambda: refused(before.server_info) is None, within=REVOKED_WITHIN)
        job = before.schedule("noop", delay=3600)
        made = house.command("create", "shop", "--expires", "1h")
        assert "only time it is shown" in made.stderr
        new = made.stdout.strip()
        with house.client(new) as after:
            until(lambda: refused(after.server_info) is None, within=REVOKED_WITHIN)
            assert refused(before.server_info) is None
            assert after.cancel(job).cancel.by == "shop"
            house.command("revoke", old_id)
            until(lambda: refused(before.server_info), within=REVOKED_WITHIN)
            assert refused(after.server_info) is None
    listed = house.command("list").stdout
    assert "shop  operate,read,read_payload,schedule" in listed
    assert old_id not in listed
    assert house.command("revoke", old_id, code=2).stderr.count("\n") == 1
    said = house.server.said(1_000_000) + house.file.read_text()
    assert '"caller": "shop"' in said  # at level debug each call is logged
    assert old not in said
    assert new not in said


def test_what_is_open_ends_when_its_token_is_revoked(house: House) -> None:
    work, work_id = house.create("worker", Scope.WORK)
    watching, watching_id = house.create("shop")
    reading, _ = house.create("desk", Scope.READ)
    ended: list[TocsinError] = []

    def watch() -> None:
        with house.client(watching) as client:
            try:
                for _ in client.watch(queue="default"):
                    pass
            except TocsinError as error:
                ended.append(error)

    def cut() -> bool:
        lines = house.server.said(100_000).splitlines()
        return any("StreamJobs" in line and '"UNAUTHENTICATED"' in line for line in lines)

    handlers = Handlers()
    handlers.on("noop")(lambda job: None)
    with house.client(reading) as desk:
        until(lambda: refused(desk.server_info) is None, within=REVOKED_WITHIN)
        worker = Worker(house.server.address, handlers, name="w", tls=False, token=work)
        threads = [threading.Thread(target=run) for run in (worker.run, watch)]
        for thread in threads:
            thread.start()
        until(lambda: any(one.name == "w" for one in desk.workers()), within=20)
        for one in (work_id, watching_id):
            revoke_token(house.file, one)
            began = time.monotonic()
        until(lambda: ended and cut(), within=20)
        assert time.monotonic() - began < REVOKED_WITHIN
    worker.stop(0)
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in ended] == [Unauthenticated]


def test_only_health_answers_whom_nobody_knows(house: House) -> None:
    for token in ("", "tocsin_wrong"):
        with house.client(token) as client:
            assert isinstance(refused(client.server_info), Unauthenticated)
            assert isinstance(refused(lambda client=client: list(client.list())), Unauthenticated)  # type: ignore[misc]
    with grpc.insecure_channel(house.server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        reflection = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            reflection(b"\x3a\x00", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_broken_file_changes_nothing_and_is_logged(house: House) -> None:
    token, _ = house.create("shop")
    with house.client(token) as client:
        until(lambda: refused(client.server_info) is None, within=REVOKED_WITHIN)
        house.file.write_text("[[principal]]\nname = 1\n")
        until(lambda: "principals cannot be used" in house.server.said(), within=REVOKED_WITHIN)
        assert refused(client.server_info) is None


def test_a_file_that_cannot_be_used_stops_the_start_with_one_line(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.file.write_text('[[principal]]\nname = "a"\nscopes = ["root"]\n')
    server = house.server.launch()
    assert server.wait() == 2
    [line] = server.said().splitlines()
    assert line.startswith(f"tocsin serve: {house.file}: principal a: there is no scope 'root'; there are ")
    doctor = [sys.executable, "-m", "tocsin.cli.main", "doctor", "--json"]
    done = subprocess.run(doctor, env={**os.environ, **house.env}, cwd=tmp_path, capture_output=True, text=True)
    assert [one["ok"] for one in json.loads(done.stdout)["findings"] if one["about"] == "auth"] == [False]


def test_names_in_client_certificates_say_who_calls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("server")
    files = {"CERT_FILE": pair.cert, "KEY_FILE": pair.key, "CLIENT_CA_FILE": authority.ca}
    house = House(tmp_path, **{f"TOCSIN_TLS__{name}": str(path) for name, path in files.items()})
    house.file.write_text(
        '[[principal]]\nname = "shop"\nscopes = ["schedule", "operate"]\ncertificates = ["spiffe://example/shop"]\n'
        '[[principal]]\nname = "desk"\nscopes = ["read"]\ncertificates = ["desk.internal"]\n'
    )
    token, _ = house.create("night", Scope.OPERATE)
    names = {"shop": ("spiffe://example/shop",), "desk": ("desk.internal", "10.0.0.1"), "stranger": ("x.internal",)}
    tls = {
        name: Tls.from_files(ca=authority.ca, cert=made.cert, key=made.key)
        for name, made in ((name, authority.sign(name, *sans)) for name, sans in names.items())
    }
    try:
        address = house.server.start().address
        clients = {name: Client(address, tls=own, token="", retries=False) for name, own in tls.items()}
        job = clients["shop"].schedule("noop", delay=3600)
        assert clients["desk"].get(job).job_id == job.job_id
        assert isinstance(refused(lambda: clients["desk"].cancel(job)), PermissionDenied)
        assert isinstance(refused(lambda: clients["stranger"].get(job)), Unauthenticated)
        with Client(address, tls=tls["shop"], token=token, retries=False) as by_token:  # it goes before the certificate
            assert by_token.cancel(job).cancel.by == "night"
        with Client(address, tls=tls["shop"], token="tocsin_wrong", retries=False) as wrong:
            assert isinstance(refused(lambda: wrong.cancel(job)), Unauthenticated)
        for client in clients.values():
            client.close()
    finally:
        house.server.kill()


def test_jwts_are_taken_while_their_key_is_published_and_their_subject_is_known(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "1"}]}))
    jwt_env = {"KEYS": str(keys), "ISSUER": "https://id.example", "AUDIENCE": "tocsin"}
    house = House(tmp_path, **{f"TOCSIN_AUTH__JWT__{name}": value for name, value in jwt_env.items()})
    house.file.write_text(
        '[[principal]]\nname = "shop"\nscopes = ["read"]\nqueues = ["mail.*"]\nsubjects = ["sub-1"]\n'
    )
    claims = {"iss": "https://id.example", "aud": "tocsin", "exp": time.time() + 3600}
    known, stranger = (
        jwt.encode({**claims, "sub": subject}, key, "ES256", headers={"kid": "1"}) for subject in ("sub-1", "sub-2")
    )
    try:
        house.server.start()
        with house.client(known) as client, house.client(stranger) as other:
            assert client.count(queue="mail.de") == 0
            assert isinstance(refused(lambda: client.count(queue="orders")), PermissionDenied)
            assert "subject" in str(refused(other.server_info))
            assert "shop  read  queues mail.*" in house.command("list").stdout
            keys.write_text(json.dumps({"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "2"}]}))
            until(lambda: refused(client.server_info), within=REVOKED_WITHIN)
        assert known not in house.server.said(1_000_000)
    finally:
        house.server.kill()
