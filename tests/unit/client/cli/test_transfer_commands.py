"""`tocsin export` and `tocsin import`: what is asked of the server, what is printed, and how they exit."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from support.ports import free_port
from tocsin.cli.export_file import first_line, last_line, record_line
from tocsin.v1 import server_service_pb2, server_service_pb2_grpc
from tocsin.v1 import transfer_pb2 as pb
from unit.client.cli.conftest import Tocsin

from ..canned_server import AWAY, UNKNOWN_OUTCOME
from ..transfer_server import TransferService, a_record


class Info(server_service_pb2_grpc.ServerServiceServicer):
    async def GetServerInfo(
        self, request: server_service_pb2.GetServerInfoRequest, context: object
    ) -> server_service_pb2.GetServerInfoResponse:
        return server_service_pb2.GetServerInfoResponse(version="1.2.3", provider="redis")


@pytest.fixture
async def service() -> TransferService:
    return TransferService()


@pytest.fixture
async def address(service: TransferService) -> AsyncIterator[str]:
    from tocsin.v1 import job_service_pb2_grpc

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
    job_service_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    server_service_pb2_grpc.add_ServerServiceServicer_to_server(Info(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


def an_export(path: Path, *lines: bytes | pb.TransferRecord, end: bool = True) -> str:
    """A file of these lines; its name."""
    raw = [line if isinstance(line, bytes) else record_line(line) for line in lines]
    path.write_bytes(b"".join([first_line({}), *raw, *([last_line(len(lines))] if end else [])]))
    return str(path)


async def test_export_writes_what_the_server_says(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    queue = pb.TransferRecord()
    queue.queue.queue.queue = "q"
    service.exports = iter([[pb.ExportJobsResponse(records=[queue]), pb.ExportJobsResponse(records=[a_record()])]])
    done = await tocsin("export", str(tmp_path / "a"), "--queue", "q", "-q", "p", "-a", address)
    assert (done.code, done.out, done.err) == (0, "exported 1 job, 1 queue and 0 reminder sets\n", "")
    [asked] = service.asked("ExportJobs")
    assert list(asked.queues) == ["q", "p"]
    head, *rest = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    said = json.loads(head)
    assert said.pop("export_time").endswith("Z")
    assert said == {"tocsin_export": 1, "server_version": "1.2.3", "provider": "redis", "queues": ["q", "p"]}
    assert rest == [record_line(queue), record_line(a_record()), last_line(2)]


async def test_an_export_that_is_cut_leaves_no_file(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    service.exports = iter([[pb.ExportJobsResponse(records=[a_record()]), AWAY]])
    done = await tocsin("export", str(tmp_path / "a"), "-a", address)
    assert (done.code, done.out) == (1, "")
    assert "STORE_AWAY" in done.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["missing/a", "."])
async def test_where_no_file_can_be_it_exits_2(tocsin: Tocsin, address: str, tmp_path: Path, name: str) -> None:
    done = await tocsin("export", str(tmp_path / name), "-a", address)
    assert done.code == 2
    assert "cannot be written" in done.err
    assert os.listdir(tmp_path) == []


async def test_import_names_the_lines_that_it_could_not_take(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    lines = [a_record(f"j{n}") for n in range(1_200)]
    lines[3] = a_record("bad\x1b[31m")
    lines[1_100] = a_record("bad-too")
    raw: list[bytes | pb.TransferRecord] = [b"{oops\n", *lines, b'{"\\u001b[31m": 1}\n']
    done = await tocsin("import", an_export(tmp_path / "a", *raw), "-a", address)
    assert done.code == 1
    assert done.out == "1,198 created, 0 kept, 0 the same, 0 replaced, 2 refused; 2 lines could not be read\n"
    first, *others = done.err.splitlines()
    assert first.startswith("line 2: no JSON: ")
    assert sorted(line.split(":")[0] for line in others) == ["line 1103", "line 1203", "line 6"]
    assert "line 6: job 'bad\\x1b[31m' of queue 'q': job.job.state: is wrong [INVALID_FIELD]" in others
    assert "\x1b" not in done.err
    assert [len(one.records) for one in service.asked("ImportJobs")] == [1_000, 200]
    assert {one.over for one in service.asked("ImportJobs")} == {pb.ImportJobsRequest.KEEP}


async def test_import_of_what_is_whole_exits_0_and_prints_json_if_asked(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    name = an_export(tmp_path / "a", a_record("a"), a_record("b", queue="p"))
    done = await tocsin("import", name, "--json", "--replace", "--queue", "p", "-a", address)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "created": 1, "kept": 0, "same": 0, "replaced": 0, "refused": 0, "released": 0, "bad_lines": 0,
    }  # fmt: skip
    [asked] = service.asked("ImportJobs")
    assert ([one.job.job.job_id for one in asked.records], asked.over) == (["b"], pb.ImportJobsRequest.REPLACE)


async def test_a_file_that_breaks_off_exits_1_and_brings_what_it_has(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    done = await tocsin("import", an_export(tmp_path / "a", a_record(), end=False), "-a", address)
    assert (done.code, done.err) == (1, "line 3: the file has no last line, so that it may have broken off\n")
    assert done.out.startswith("1 created")


async def test_what_is_no_export_exits_2_and_is_not_sent(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"SELECT 1;\n")
    for name in ("a", "missing", "."):
        done = await tocsin("import", str(tmp_path / name), "-a", address)
        assert done.code == 2
        assert "FILE" in done.err
    assert service.calls == []


async def test_an_import_outlasts_a_server_that_goes_away_and_with_replace_tells_how_far_it_came(
    tocsin: Tocsin, address: str, service: TransferService, tmp_path: Path
) -> None:
    name = an_export(tmp_path / "a", *(a_record(f"j{n}") for n in range(1_001)))
    service.failing = iter([UNKNOWN_OUTCOME])
    assert (await tocsin("import", name, "-a", address)).code == 0
    service.failing = iter([None, UNKNOWN_OUTCOME])
    done = await tocsin("import", name, "--replace", "-a", address)
    assert done.code == 1
    first, second = done.err.splitlines()
    assert first == "the import ended early; before that: 1,000 created, 0 kept, 0 the same, 0 replaced, 0 refused"
    assert "OUTCOME_UNKNOWN" in second


async def test_a_server_that_is_not_there_is_told_at_once(tocsin: Tocsin, tmp_path: Path) -> None:
    name = an_export(tmp_path / "a", a_record())
    nobody = f"127.0.0.1:{free_port()}"
    for arguments in (("import", name), ("export", str(tmp_path / "b"))):
        done = await tocsin(*arguments, "-a", nobody)
        assert done.code == 1
        assert done.err.startswith(f"tocsin: no server is reached at {nobody}")
