"""The lines that users type, exactly as the contract has them, top to bottom, on an empty store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from support.servers import Server

pytestmark = pytest.mark.timeout(420)  # a first build of the Go tools may be awaited

HANDLERS = """\
# myapp/jobs.py, run by `tocsin serve --handlers myapp.jobs` and later by `tocsin worker myapp.jobs`, unchanged
from tocsin import Handlers, JobContext
handlers = Handlers()                      # an object, not a process-wide registry; `myapp.jobs:other_name` works too

@handlers.on("resize_image", concurrency=4)
async def resize_image(job: JobContext) -> dict:
    await job.progress(0.5, "half way")
    return {"bytes": len(job.data["path"])}
"""

PYTHON = """\
from tocsin import Client
with Client("localhost:50051") as tocsin:
    job = tocsin.schedule("resize_image", {"path": "a.png"}, delay=3)     # or at=datetime(..., tzinfo=...)
    print(tocsin.wait(job).state)
    for job in tocsin.list(states=["FAILED"], types=["resize_image"]):
        print(job.job_id, job.errors[-1].message)
    tocsin.cancel("xmas-ada")                                             # cancelled before: still fine
"""

XMAS = '"schedule_time":"2099-12-24T18:00:00Z","job_id":"xmas-ada"'
MAIL = '{"email_notification":{"to":["ada@example.com"],"subject":"Hello","text":"Hi Ada"}}'


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tocsin dev --handlers myapp.jobs`, in a folder that has myapp and nothing else."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "myapp").mkdir()
    (folder / "myapp/jobs.py").write_text(HANDLERS)
    tocsin = str(Path(sys.executable).with_name("tocsin"))
    server = Server(folder, ["--handlers", "myapp.jobs"], {"PYTHONPATH": ""}, command="dev", program=[tocsin])
    try:
        yield server.start()
    finally:
        server.kill()


Type = Callable[[str], str]


@pytest.fixture(scope="module")
def typed(dev: Server, go_tool: Callable[[str], str]) -> Type:
    """Runs a line as a shell would, with S as the server under test; what it prints. The line must end with 0."""
    folders = {str(Path(go_tool(name)).parent) for name in ("grpcurl", "grpc-health-probe")}

    def run(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            env={"PATH": ":".join([*folders, "/usr/bin", "/bin"]), "S": f"localhost:{dev.port}"},
            cwd=dev.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}\nthe server said:\n{dev.said()}"
        return done.stdout + done.stderr

    return run


def objects(text: str) -> list[Any]:
    """The JSON objects that grpcurl printed one after the other, with field names as the protos have them.

    grpcurl writes "jobId" or "job_id", as the descriptors it was served tell it; people read both.
    """

    def as_in_protos(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name): value for name, value in pairs}

    decoder, found = json.JSONDecoder(object_pairs_hook=as_in_protos), []
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def test_the_lines_work_as_typed_top_to_bottom(typed: Type) -> None:
    services = typed("grpcurl -plaintext $S list").split()
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(services)
    assert "grpc.reflection.v1alpha.ServerReflection" in services
    assert {"tocsin.v1.JobService", "tocsin.v1.QueueService", "tocsin.v1.ServerService"} <= set(services)

    method = typed("grpcurl -plaintext $S describe tocsin.v1.JobService.ScheduleJob")
    assert "tocsin.v1.JobService.ScheduleJob is a method" in method
    assert re.search(r"rpc ScheduleJob \( \.tocsin\.v1\.ScheduleJobRequest \)", method)

    [soon] = objects(
        typed(
            'grpcurl -plaintext -d \'{"job":{"type":"resize_image","data":{"path":"a.png"}},"delay":"3s"}\''
            " $S tocsin.v1.JobService/ScheduleJob"
        )
    )
    assert (soon["outcome"], soon["job"]["state"], soon["job"]["queue"]) == ("CREATED", "SCHEDULED", "default")
    assert soon["job"]["spec"]["retry"]["max_attempts"] == 3

    [xmas] = objects(typed(f"grpcurl -plaintext -d '{{\"job\":{MAIL},{XMAS}}}' $S tocsin.v1.JobService/ScheduleJob"))
    assert (xmas["job"]["job_id"], xmas["job"]["schedule_time"]) == ("xmas-ada", "2099-12-24T18:00:00Z")
    assert (xmas["job"]["spec"]["type"], xmas["job"]["state"]) == ("email_notification", "SCHEDULED")
    assert "email_notification" not in xmas["job"]["spec"]

    [got] = objects(typed('grpcurl -plaintext -d \'{"job_id":"xmas-ada"}\' $S tocsin.v1.JobService/GetJob'))
    assert got["job"]["spec"]["email_notification"] == {"to": ["ada@example.com"], "subject": "Hello", "text": "Hi Ada"}

    [page] = objects(
        typed(
            'grpcurl -plaintext -d \'{"states":["SCHEDULED","FAILED"],"types":["email_notification"],'
            '"page_size":10,"skip":0}\' $S tocsin.v1.JobService/ListJobs'
        )
    )
    assert [job["job_id"] for job in page["jobs"]] == ["xmas-ada"]
    assert page["total_size"] == "1"

    [cancelled] = objects(
        typed('grpcurl -plaintext -d \'{"job_id":"xmas-ada","reason":"moved"}\' $S tocsin.v1.JobService/CancelJob')
    )
    assert (cancelled["job"]["state"], cancelled["job"]["cancel"]["reason"]) == ("CANCELLED", "moved")

    changes = objects(typed('grpcurl -plaintext -d \'{"job_id":"xmas-ada"}\' $S tocsin.v1.JobService/WatchJobs'))
    assert [change["job"]["state"] for change in changes] == ["CANCELLED"]  # as it stands, and then OK

    [health] = objects(typed('grpcurl -plaintext -d \'{"queue":"default"}\' $S tocsin.v1.QueueService/GetQueueHealth'))
    assert (health["healthy"], health["queue"], health["counts"]["cancelled"]) == (True, "default", "1")
    assert "resize_image" in health["workers"][0]["types"]

    [check] = objects(
        typed('grpcurl -plaintext -d \'{"service":"tocsin.v1.JobService"}\' $S grpc.health.v1.Health/Check')
    )
    assert check == {"status": "SERVING"}
    assert "SERVING" in typed("grpc-health-probe -addr=$S")


def test_the_python_lines_work_as_typed(dev: Server, typed: Type) -> None:
    typed(  # where the lines above were not run before, as in a run of this test alone
        f'grpcurl -plaintext -d \'{{"job":{MAIL},{XMAS},"on_conflict":"KEEP"}}\' $S tocsin.v1.JobService/ScheduleJob'
    )
    typed('grpcurl -plaintext -d \'{"job_id":"xmas-ada"}\' $S tocsin.v1.JobService/CancelJob')
    script = dev.folder / "lines.py"
    script.write_text(PYTHON.replace("localhost:50051", f"localhost:{dev.port}"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["COMPLETED"]), done.stderr


def test_both_versions_of_reflection_find_a_method(dev: Server) -> None:
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="tocsin.v1.JobService.ScheduleJob")
    for version in ("v1", "v1alpha"):  # their messages are the same field for field
        with grpc.insecure_channel(dev.address) as channel:
            call = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
            [answer] = call(iter([asked.SerializeToString()]), timeout=10)
        found = reflection_pb2.ServerReflectionResponse.FromString(answer)
        assert found.WhichOneof("message_response") == "file_descriptor_response", version


def test_a_probe_of_an_unknown_service_fails(dev: Server, go_tool: Callable[[str], str]) -> None:
    probe = subprocess.run(
        [go_tool("grpc-health-probe"), f"-addr=localhost:{dev.port}", "-service=nobody"], timeout=30, check=False
    )
    assert probe.returncode == 3


def test_a_refusal_shows_its_reason_to_grpcurl(dev: Server, go_tool: Callable[[str], str]) -> None:
    done = subprocess.run(
        [
            go_tool("grpcurl"),
            "-plaintext",
            "-d",
            '{"job_id":"nobody"}',
            f"localhost:{dev.port}",
            "tocsin.v1.JobService/GetJob",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "NotFound" in done.stderr
    assert "JOB_NOT_FOUND" in done.stderr
