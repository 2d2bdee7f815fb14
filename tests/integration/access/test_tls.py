"""A server with a certificate: who comes in by TLS, who does not, and how certificates are replaced under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import DAY, Authority, Pair
from support.eventually import until
from support.node_tools import node
from support.ports import free_port
from support.servers import Server
from tocsin import AsyncClient, Client, InvalidArgument, Tls, Unavailable

TOCSIN = [sys.executable, "-m", "tocsin.cli.main"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def with_tls(folder: Path, pair: Pair, client_ca: Path | None = None) -> Server:
    files = {"CERT_FILE": pair.cert, "KEY_FILE": pair.key, "CLIENT_CA_FILE": client_ca}
    env = {f"TOCSIN_TLS__{name}": str(path) for name, path in files.items() if path is not None}
    return Server(folder, ["--no-dispatch"], env, health_port=free_port())


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Asks for no client certificate."""
    server = with_tls(tmp_path_factory.mktemp("tls"), authority.sign("server"))
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Asks for a client certificate of the authority."""
    server = with_tls(tmp_path_factory.mktemp("mtls"), authority.sign("mutual"), authority.ca)
    try:
        yield server.start()
    finally:
        server.kill()


def version(server: Server, tls: Any, address: str = "") -> str:
    with Client(address or server.address, tls=tls, token="", deadline=3, retries=False) as client:
        return client.server_info().version


def test_a_client_that_trusts_the_authority_comes_in(server: Server, authority: Authority) -> None:
    assert version(server, Tls.from_files(ca=authority.ca))


def test_nothing_but_tls_is_answered(server: Server) -> None:
    with pytest.raises(Unavailable):
        version(server, False)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert b"".join(iter(lambda: plain.recv(4096), b"")) == b""


def test_who_trusts_another_authority_does_not_come_in(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        version(server, Tls.from_files(ca=Authority(tmp_path, "other").ca))


def test_a_certificate_for_another_host_is_refused_unless_its_name_is_said(
    authority: Authority, tmp_path: Path
) -> None:
    server = with_tls(tmp_path, authority.sign("elsewhere", "tocsin.example"))
    try:
        server.start()
        with pytest.raises(Unavailable, match=r"(?i)certificate|hostname"):
            version(server, Tls.from_files(ca=authority.ca))
        assert version(server, Tls.from_files(ca=authority.ca, server_name="tocsin.example"))
    finally:
        server.kill()


def test_an_expired_certificate_is_served_with_a_warning_and_refused_by_clients(
    authority: Authority, tmp_path: Path
) -> None:
    server = with_tls(tmp_path, authority.sign("expired", begins=-3 * DAY, expires=-DAY))
    try:
        server.start()
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            version(server, Tls.from_files(ca=authority.ca))
        until(lambda: "has expired" in server.said(), within=5)
    finally:
        server.kill()


def test_with_client_certificates_one_of_the_authority_is_needed(
    mutual: Server, authority: Authority, tmp_path: Path
) -> None:
    own, foreign = authority.sign("client"), Authority(tmp_path, "other").sign("foreign")
    assert version(mutual, Tls.from_files(ca=authority.ca, cert=own.cert, key=own.key))
    with pytest.raises(Unavailable):
        version(mutual, Tls.from_files(ca=authority.ca))
    with pytest.raises(Unavailable):
        version(mutual, Tls.from_files(ca=authority.ca, cert=foreign.cert, key=foreign.key))


def _negotiated(port: int, version: ssl.TLSVersion) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # that it is old is the point
def test_tls_1_1_and_older_are_refused(server: Server) -> None:
    assert _negotiated(server.port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert _negotiated(server.port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    for old in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _negotiated(server.port, old)


def test_the_port_for_probes_answers_health_and_nothing_else(mutual: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{mutual.health_port}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for path in (
            "/tocsin.v1.ServerService/GetServerInfo",
            "/tocsin.v1.JobService/ListJobs",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(path)(b"", timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.timeout(90)
async def test_certificates_are_replaced_under_load_without_a_failed_call(authority: Authority, tmp_path: Path) -> None:
    served = authority.sign("rotating")
    server = with_tls(tmp_path, served)
    try:
        server.start()
        tls = Tls.from_files(ca=authority.ca)
        stop, calls, serials = asyncio.Event(), 0, set()

        async def call() -> None:
            nonlocal calls
            while not stop.is_set():  # a connection each, so that each has a handshake
                async with AsyncClient(server.address, tls=tls, token="", retries=False) as client:
                    await client.server_info()
                    calls += 1

        async def serve_another(name: str) -> None:
            served.replace(authority.sign(name))
            wanted = ssl.PEM_cert_to_DER_cert(served.cert.read_text())
            async with asyncio.timeout(20):
                while (seen := await asyncio.to_thread(_certificate, server.port)) != wanted:
                    serials.add(seen)
            serials.add(seen)

        callers = [asyncio.create_task(call()) for _ in range(8)]
        for name in ("second", "third"):
            await serve_another(name)
        before = calls
        served.cert.write_text("no certificate")
        async with asyncio.timeout(20):
            while "cannot be used" not in server.said() or calls < before + 20:
                await asyncio.to_thread(_certificate, server.port)
        assert await asyncio.to_thread(_certificate, server.port) in serials
        await serve_another("fourth")
        stop.set()
        await asyncio.gather(*callers)  # raises where a call has failed
        assert calls > 50
        assert len(serials) == 4
    finally:
        server.kill()


def test_sighup_has_the_files_looked_at_and_ends_nothing(authority: Authority, tmp_path: Path) -> None:
    served = authority.sign("hung-up")
    server = with_tls(tmp_path, served)
    try:
        server.start()
        served.replace(authority.sign("hung-up-again"))
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: "certificates were read anew" in server.said(), within=5)
        assert _certificate(server.port) == ssl.PEM_cert_to_DER_cert(served.cert.read_text())
        assert server.stop() == 0
    finally:
        server.kill()


def _certificate(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=5))


def test_a_key_that_others_can_read_is_refused_with_one_line(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("open")
    pair.key.chmod(0o644)
    server = with_tls(tmp_path, pair).launch()
    assert server.wait() == 2
    assert server.said().splitlines() == [
        f"tocsin serve: {pair.key} can be read by others than its owner (mode 0644): chmod 600 it"
    ]


def test_half_a_pair_is_refused_with_one_line(authority: Authority, tmp_path: Path) -> None:
    env = {"TOCSIN_TLS__CERT_FILE": str(authority.sign("half").cert)}
    server = Server(tmp_path, env=env).launch()
    assert server.wait() == 2
    assert server.said().splitlines() == [
        "tocsin serve: TOCSIN_TLS__CERT_FILE: cert_file and key_file are given together, or neither"
    ]


def _doctor(folder: Path, pair: Pair) -> tuple[int, list[Any]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "REDIS_", "MONGO"))}
    env |= {"TOCSIN_TLS__CERT_FILE": str(pair.cert), "TOCSIN_TLS__KEY_FILE": str(pair.key)}
    done = subprocess.run([*TOCSIN, "doctor", "--json"], env=env, cwd=folder, capture_output=True, text=True)
    said = json.loads(done.stdout)["findings"]
    return done.returncode, [(one["ok"], one["says"]) for one in said if one["about"] == "tls"]


def test_the_doctor_says_when_the_certificate_ends(authority: Authority, tmp_path: Path) -> None:
    [(ok, says)] = _doctor(tmp_path, authority.sign("good"))[1]
    assert ok is True
    assert "is good until" in says
    [(ok, says)] = _doctor(tmp_path, authority.sign("soon", expires=20 * DAY))[1]
    assert ok is None
    assert "expires in 19 days" in says
    code, [(ok, says)] = _doctor(tmp_path, authority.sign("over", begins=-3 * DAY, expires=-DAY))
    assert (code, ok) == (1, False)
    assert "has expired" in says


def test_the_command_line_comes_in_by_options_and_by_the_environment(mutual: Server, authority: Authority) -> None:
    own = authority.sign("shell")
    flags = ["--ca", str(authority.ca), "--cert", str(own.cert), "--key", str(own.key)]
    names = ("TOCSIN_TLS__CA", "TOCSIN_TLS__CERT", "TOCSIN_TLS__KEY")
    bare = {**os.environ, "TOCSIN_ADDRESS": mutual.address}
    for arguments, env in ((flags, bare), ([], {**bare, **dict(zip(names, flags[1::2], strict=True))})):
        for command in (["queues", "list"], ["health"], ["workers"]):
            done = subprocess.run([*TOCSIN, *command, *arguments], env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    refused = subprocess.run([*TOCSIN, "queues", "list"], env=bare, capture_output=True, text=True)
    assert refused.returncode == 1
    missing = [*TOCSIN, "queues", "list", "--ca", "/nowhere/ca.pem"]
    said = subprocess.run(missing, env=bare, capture_output=True, text=True)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert "ca: /nowhere/ca.pem cannot be read" in said.stderr


def test_a_token_is_never_sent_in_plaintext_but_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN", "s3cret")
    with pytest.raises(InvalidArgument, match=r"jobs\.example:1 without encryption") as refused:
        Client("jobs.example:1")
    assert "s3cret" not in str(refused.value)
    Client("jobs.example:1", tls=True).close()
    Client("jobs.example:1", token="").close()
    Client("127.0.0.1:1").close()


NODE = """
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const require = createRequire(process.argv[2] + "/");
const { Client, credentials } = require("@grpc/grpc-js");
const [ca, key, cert] = process.argv.slice(4).map((path) => readFileSync(path));
const client = new Client(process.argv[3], credentials.createSsl(ca, key, cert));
const none = (value) => value;
const deadline = { deadline: Date.now() + 10_000 };
const path = "/tocsin.v1.ServerService/GetServerInfo";
client.makeUnaryRequest(path, none, none, Buffer.alloc(0), deadline, (error, answer) => {
  console.log(error ? `refused ${error.code}` : `answered ${answer.length > 0}`);
  client.close();
});
"""


def test_node_comes_in_with_a_certificate(
    mutual: Server, authority: Authority, npm_packages: Path, tmp_path: Path
) -> None:
    own = authority.sign("node")
    (tmp_path / "call.mjs").write_text(NODE)
    program = [node(), str(tmp_path / "call.mjs"), str(npm_packages.parent), f"localhost:{mutual.port}"]
    with_certificate = [str(authority.ca), str(own.key), str(own.cert)]
    said = [
        subprocess.run([*program, *files], capture_output=True, text=True, timeout=60).stdout.strip()
        for files in (with_certificate, with_certificate[:1])
    ]
    assert said == ["answered true", "refused 14"]


@pytest.mark.timeout(420)  # a first build of the Go tools may be awaited
def test_go_comes_in_with_a_certificate(mutual: Server, authority: Authority, go_tool: Callable[..., str]) -> None:
    own = authority.sign("go")
    call = [go_tool("grpcurl"), "-cacert", str(authority.ca)]
    certificate = ["-cert", str(own.cert), "-key", str(own.key)]
    target = [mutual.address, "tocsin.v1.ServerService/GetServerInfo"]
    done = subprocess.run([*call, *certificate, *target], capture_output=True, text=True, timeout=60)
    assert "version" in json.loads(done.stdout)
    without = [*call, "-max-time", "5", *target]
    assert subprocess.run(without, capture_output=True, text=True, timeout=60).returncode != 0
    probe = [go_tool("grpc-health-probe"), f"-addr={mutual.address}", "-tls", f"-tls-ca-cert={authority.ca}"]
    probe += [f"-tls-client-cert={own.cert}", f"-tls-client-key={own.key}"]
    assert subprocess.run(probe, capture_output=True, timeout=60).returncode == 0
