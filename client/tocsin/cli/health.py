"""`tocsin health`: asks grpc.health.v1, for probes. Exits as grpc-health-probe does."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from enum import IntEnum
from typing import Annotated, Any

import grpc
import typer
from google.protobuf import empty_pb2, struct_pb2, wrappers_pb2
from google.protobuf.message import DecodeError
from typer.core import TyperCommand

from tocsin._access import Tls, chosen_tls
from tocsin._channel import open_channel, resolve_address
from tocsin.cli import json_lines, parsing, texts
from tocsin.cli.connecting import Address, AsJson
from tocsin.cli.connection_options import access

_CHECK = "/grpc.health.v1.Health/Check"
_LIST = "/grpc.health.v1.Health/List"


class HealthExit(IntEnum):
    """What the exit code says."""

    SERVING = 0
    MISUSED = 1
    NO_CONNECTION = 2
    NO_ANSWER = 3
    NOT_SERVING = 4


class ServingStatus(IntEnum):
    """grpc.health.v1.HealthCheckResponse.ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Unhealthy(Exception):
    """No status could be had; `code` says how far the probe came."""

    def __init__(self, code: HealthExit, message: str) -> None:
        self.code = code
        super().__init__(message)


class ProbeCommand(TyperCommand):
    """A command whose misuse exits 1; with the usual 2 a probe would say that there is no connection."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if hasattr(error, "exit_code"):
                error.exit_code = HealthExit.MISUSED
            raise


def health(
    service: Annotated[
        str, typer.Option(help='A service, or "live" for liveness. Default: the whole server.', show_default=False)
    ] = "",
    connect_timeout: Annotated[
        timedelta, typer.Option(parser=parsing.span, metavar="SPAN", help="For the connection.")
    ] = "1s",  # type: ignore[assignment]  # typer hands the default to the parser
    rpc_timeout: Annotated[timedelta, typer.Option(parser=parsing.span, metavar="SPAN", help="For the answer.")] = "1s",  # type: ignore[assignment]  # as above
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Ask whether the server serves. Exits 0 serving, 1 misused, 2 no connection, 3 no answer, 4 not serving."""
    try:
        tls = chosen_tls(access()["tls"])
        status = asyncio.run(check(resolve_address(address), service, connect_timeout, rpc_timeout, tls))
    except ValueError as error:
        _fail(HealthExit.MISUSED, str(error))
    except Unhealthy as error:
        _fail(error.code, str(error))
    else:
        if json:
            line = struct_pb2.Struct()
            line.update({"status": status.name})
            json_lines.print_json(line)
        else:
            print(f"status: {status.name}")
        if status is not ServingStatus.SERVING:
            raise typer.Exit(HealthExit.NOT_SERVING)


async def check(
    address: str, service: str, connect_timeout: timedelta, rpc_timeout: timedelta, tls: Tls | None = None
) -> ServingStatus:
    """The status that the server gives for `service` ("" is the whole of it). Raises Unhealthy."""
    async with open_channel(address, tls, proxies=False) as channel:
        try:
            async with asyncio.timeout(connect_timeout.total_seconds()):
                await channel.channel_ready()
        except TimeoutError:
            message = f"no connection to {address} within {connect_timeout.total_seconds():g} s"
            raise Unhealthy(HealthExit.NO_CONNECTION, message) from None
        # HealthCheckRequest has one string, number 1, and its answer one enum, number 1: on the wire they are these
        # wrappers, and the base install needs no grpcio-health-checking.
        ask = channel.unary_unary(
            _CHECK,
            request_serializer=wrappers_pb2.StringValue.SerializeToString,
            response_deserializer=wrappers_pb2.Int32Value.FromString,
        )
        try:
            answer = await ask(wrappers_pb2.StringValue(value=service), timeout=rpc_timeout.total_seconds())
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:  # said without a word
                raise Unhealthy(HealthExit.NO_ANSWER, await _unknown(channel, service, rpc_timeout)) from None
            raise Unhealthy(HealthExit.NO_ANSWER, f"{error.code().name}: {error.details()}") from None
    return next((status for status in ServingStatus if status == answer.value), ServingStatus.UNKNOWN)


async def _unknown(channel: grpc.aio.Channel, service: str, timeout: timedelta) -> str:
    """That there is no such service, and which there are, where the server lists them."""
    # HealthListResponse is a map of names to messages with an enum, number 1: on the wire a Struct of nulls.
    ask = channel.unary_unary(
        _LIST,
        request_serializer=empty_pb2.Empty.SerializeToString,
        response_deserializer=struct_pb2.Struct.FromString,
    )
    try:
        names = sorted(filter(None, (await ask(empty_pb2.Empty(), timeout=timeout.total_seconds())).fields))
    except (grpc.aio.AioRpcError, DecodeError):
        names = []
    known = f"; it has {', '.join(names)}" if names else ""
    return f"the server has no service {service!r}{known}"


def _fail(code: HealthExit, message: str) -> None:
    print(f"tocsin: {texts.one_line(message)}", file=sys.stderr)
    raise typer.Exit(code)
