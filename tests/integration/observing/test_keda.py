"""KEDA's external scaler: what is counted, when that is told, what is refused; and workers that go to zero and back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping

import grpc
import pytest
import yaml
from support.eventually import until
from support.jobs import everyday
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from support.stores import StoreBackend
from support.stubs import refusal
from tocsin import Client, Worker
from tocsin.v1 import externalscaler_pb2 as pb
from tocsin.v1.externalscaler_pb2_grpc import ExternalScalerStub

StartServer = Callable[..., Server]
PAGE = (ROOT / "docs/keda.md").read_text()


def scaled(**metadata: str) -> pb.ScaledObjectRef:
    """A ScaledObject as KEDA names it: with what its trigger says, KEDA's own words included."""
    return pb.ScaledObjectRef(
        name="thumbnails", namespace="shop", scalerMetadata={"scalerAddress": "tocsin:50051", **metadata}
    )


class Scaler:
    """Asks as KEDA does."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = ExternalScalerStub(channel)

    def active(self, **metadata: str) -> bool:
        return bool(self.stub.IsActive(scaled(**metadata), timeout=10).result)

    def jobs(self, **metadata: str) -> float:
        """The value of the one metric."""
        asked = pb.GetMetricsRequest(scaledObjectRef=scaled(**metadata), metricName="tocsin-jobs")
        [value] = self.stub.GetMetrics(asked, timeout=10).metricValues
        assert (value.metricName, float(value.metricValue)) == ("tocsin-jobs", value.metricValueFloat)
        return float(value.metricValueFloat)

    def target(self, **metadata: str) -> tuple[int, float]:
        [spec] = self.stub.GetMetricSpec(scaled(**metadata), timeout=10).metricSpecs
        assert spec.metricName == "tocsin-jobs"
        return spec.targetSize, spec.targetSizeFloat


@pytest.fixture
def server(store: StoreBackend, serve: StartServer) -> Server:
    return serve(store.url, "--no-dispatch")


@pytest.fixture
def scaler(server: Server) -> Iterator[Scaler]:
    with grpc.insecure_channel(server.address) as channel:
        yield Scaler(channel)


@pytest.fixture
def quiet_scaler(quiet_server: Server) -> Iterator[Scaler]:
    """Of the shared server that runs no jobs."""
    with grpc.insecure_channel(quiet_server.address) as channel:
        yield Scaler(channel)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def test_due_jobs_are_counted_by_queue_type_and_state(scaler: Scaler, client: Client) -> None:
    assert (scaler.active(queues="mail"), scaler.jobs(queues="mail")) == (False, 0)
    for number in range(3):
        client.schedule("letter", {}, queue="mail", job_id=str(number))
    client.schedule("card", {}, queue="mail")
    client.schedule("letter", {}, queue="mail", delay=3600)
    client.schedule("letter", {}, queue="web")

    def counted(wanted: float, **metadata: str) -> None:
        # MongoDB's counts are kept for a moment where counting took long.
        until(lambda: scaler.jobs(**metadata) == wanted, within=10, what=f"{wanted} of {metadata}")

    counted(4, queues="mail")
    counted(3, queues="mail", types="letter")
    counted(4, queues=" mail , web ", types="letter")
    counted(1, queues="mail", states="SCHEDULED")
    counted(0, queues="mail", types="nobody")
    counted(0)
    assert scaler.active(queues="mail")
    assert scaler.active(queues="mail", activationJobs="3")
    assert not scaler.active(queues="mail", activationJobs="4")
    assert not scaler.active()
    client.cancel("0", queue="mail")
    counted(2, queues="mail", types="letter")


def test_the_target_is_jobs_a_worker(quiet_scaler: Scaler) -> None:
    assert quiet_scaler.target() == (20, 20.0)
    assert quiet_scaler.target(jobsPerWorker="5") == (5, 5.0)
    assert quiet_scaler.target(jobsPerWorker="0.5") == (1, 0.5)


WRONG = [
    ({"jobsPerWorker": "many"}, "scalerMetadata.jobsPerWorker", "is a number, 0 or above, such as 20 or 2.5"),
    ({"jobsPerWorker": "0"}, "scalerMetadata.jobsPerWorker", "is above 0"),
    ({"jobsPerWorker": "inf"}, "scalerMetadata.jobsPerWorker", "is a number, 0 or above, such as 20 or 2.5"),
    ({"activationJobs": "-1"}, "scalerMetadata.activationJobs", "is a number, 0 or above, such as 20 or 2.5"),
    ({"queues": "mail, a b"}, "scalerMetadata.queues", "has a character other than A-Z a-z 0-9 . _ -"),
    ({"types": "ä"}, "scalerMetadata.types", "has a character other than A-Z a-z 0-9 . _ -"),
    ({"queues": ",".join("q" * 101)}, "scalerMetadata.queues", "has 101 names, at most 100 are allowed"),
    ({"queue": "mail"}, "scalerMetadata.queue", "is no key; queues is one"),
    ({"jobsPerWorkers": "3"}, "scalerMetadata.jobsPerWorkers", "is no key; jobsPerWorker is one"),
    (
        {"states": "WAITING,due"},
        "scalerMetadata.states",
        "names 'due'; there are SCHEDULED, BLOCKED, WAITING, ACTIVE, COMPLETED, FAILED, CANCELLED",
    ),
]


@pytest.mark.parametrize(("metadata", "field", "why"), WRONG, ids=[f"{one[1]}: {one[2]}" for one in WRONG])
def test_wrong_metadata_is_refused_by_its_key(
    quiet_scaler: Scaler, metadata: Mapping[str, str], field: str, why: str
) -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: quiet_scaler.stub.IsActive(scaled(**metadata), timeout=10), field),
        (lambda: next(iter(quiet_scaler.stub.StreamIsActive(scaled(**metadata), timeout=10))), field),
        (lambda: quiet_scaler.stub.GetMetricSpec(scaled(**metadata), timeout=10), field),
        (lambda: quiet_scaler.jobs(**metadata), f"scaledObjectRef.{field}"),
    ]
    for call, path in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        refused = refusal(caught.value)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.fields == [path]
        assert f"{path}: {why}" in refused.message


def test_another_metric_is_refused_and_an_optional_call_is_not_there(
    quiet_scaler: Scaler, quiet_server: Server
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        quiet_scaler.stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=scaled(), metricName="other"), timeout=10)
    assert refusal(caught.value).message == 'metricName: is "tocsin-jobs", as GetMetricSpec tells'
    with grpc.insecure_channel(quiet_server.address) as channel, pytest.raises(grpc.RpcError) as missing:
        next(channel.unary_stream("/externalscaler.ExternalScaler/StreamMetricSpec")(b"", timeout=10))
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED


class Keda:
    """Does with a worker what KEDA does with a deployment: starts it where it is active, stops it where it is not."""

    def __init__(self, scaler: Scaler, address: str, **metadata: str) -> None:
        self.heard: list[bool] = []
        self._address = address
        self._stream = scaler.stub.StreamIsActive(scaled(**metadata))
        self._worker: tuple[Worker, threading.Thread] | None = None
        self._following = threading.Thread(target=self._follow)
        self._following.start()

    @property
    def workers(self) -> int:
        return int(self._worker is not None)

    def _follow(self) -> None:
        try:
            for answer in self._stream:
                self.heard.append(answer.result)
                self._scale(to=int(answer.result))
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)  # noqa: PT017
        self._scale(to=0)

    def _scale(self, to: int) -> None:
        if to and self._worker is None:
            worker = Worker(self._address, everyday.handlers, queues=["mail"])
            running = threading.Thread(target=worker.run)
            running.start()
            self._worker = worker, running
        elif not to and self._worker is not None:
            (worker, running), self._worker = self._worker, None
            worker.stop()
            running.join()

    def close(self) -> None:
        self._stream.cancel()
        self._following.join()


def test_workers_go_to_zero_and_back(server: Server, scaler: Scaler, client: Client) -> None:
    keda = Keda(scaler, server.address, queues="mail", types="echo")
    try:
        until(lambda: keda.heard == [False], within=10, what="it is told that nobody is wanted")
        for round_ in range(2):
            jobs = [client.schedule("echo", {"n": number}, queue="mail") for number in range(5)]
            for job in jobs:
                assert client.wait(job, queue="mail", timeout=30).state == "COMPLETED"
            until(lambda: keda.workers == 0, within=60, what="the workers are gone again")
            assert keda.heard == [False, *[True, False] * (round_ + 1)]
        later = client.schedule("echo", {}, queue="mail", delay=1)
        assert client.wait(later, queue="mail", timeout=30).state == "COMPLETED"
        assert keda.heard[5] is True
    finally:
        keda.close()


def test_a_stream_ends_when_the_server_drains(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch")
    with grpc.insecure_channel(server.address) as channel:
        stream = Scaler(channel).stub.StreamIsActive(scaled())
        assert next(stream).result is False
        server.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.wait() == 0


def test_the_scaled_objects_of_the_page_are_taken(quiet_scaler: Scaler) -> None:
    documents = [
        document
        for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        for document in yaml.safe_load_all(block)
    ]
    triggers = [trigger for document in documents for trigger in document["spec"].get("triggers", ())]
    assert {trigger["type"] for trigger in triggers} == {"external", "external-push"}
    for trigger in triggers:
        metadata = trigger["metadata"]
        assert all(isinstance(value, str) for value in metadata.values()), "KEDA wants texts"
        assert quiet_scaler.jobs(**metadata) == 0
        assert quiet_scaler.target(**metadata)[1] == float(metadata["jobsPerWorker"])
