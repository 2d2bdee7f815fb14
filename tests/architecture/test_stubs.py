"""The generated stubs say what the .proto files say. Read from the files themselves, so that no compiler is needed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from support.source_tree import GENERATED, PROTOS, VENDORED

_TOKEN = re.compile(
    r"\b(?P<kind>message|enum|service|oneof)\s+(?P<name>\w+)\s*\{"
    r"|\brpc\s+(?P<rpc>\w+)\s*\((?P<asks>[^)]*)\)\s*returns\s*\((?P<answers>[^)]*)\)"
    r"|(?P<field>\w+)\s*=\s*(?P<number>\d+)\s*(?:\[[^]]*\])?\s*;"
    r"|(?P<open>\{)|(?P<close>\})"
)


def written(path: Path) -> set[str]:
    """What a .proto file declares: "message.field = number", "enum.value = number", "service.rpc(in) out"."""
    text = re.sub(r"//[^\n]*", "", path.read_text())
    text = re.sub(r"\boption\b[^;]*;", "", text)
    stack: list[str] = []
    found = set()
    for token in _TOKEN.finditer(text):
        if token["kind"]:
            stack.append("" if token["kind"] == "oneof" else token["name"])
        elif token["open"]:
            stack.append("")
        elif token["close"]:
            stack.pop()
        elif token["rpc"]:
            asks, answers = (part.replace("stream", "~").replace(" ", "") for part in (token["asks"], token["answers"]))
            found.add(f"{stack[-1]}.{token['rpc']}({asks}) {answers}")
        else:
            found.add(f"{'.'.join(filter(None, stack))}.{token['field']} = {token['number']}")
    assert stack == [], f"{path.name}: braces do not match"
    return found


def generated(file: FileDescriptor) -> set[str]:
    """The same of a stub's descriptor."""

    def of_enum(enum: EnumDescriptor, above: str) -> Iterator[str]:
        for value in enum.values:
            yield f"{above}{enum.name}.{value.name} = {value.number}"

    def of_message(message: Descriptor, above: str) -> Iterator[str]:
        path = f"{above}{message.name}."
        for field in message.fields:
            yield f"{path}{field.name} = {field.number}"
        for enum in message.enum_types:
            yield from of_enum(enum, path)
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                yield from of_message(nested, path)

    found = {line for message in file.message_types_by_name.values() for line in of_message(message, "")}
    found |= {line for enum in file.enum_types_by_name.values() for line in of_enum(enum, "")}
    for service in file.services_by_name.values():
        for method in service.methods:
            asks = ("~" if method.client_streaming else "") + method.input_type.name
            answers = ("~" if method.server_streaming else "") + method.output_type.name
            found.add(f"{service.name}.{method.name}({asks}) {answers}")
    return found


ALL = sorted(path for folder in (PROTOS, VENDORED) for path in folder.glob("*.proto"))


@pytest.mark.parametrize("proto", ALL, ids=lambda path: path.name)
def test_the_stubs_are_those_of_the_protos(proto: Path) -> None:
    stub = importlib.import_module(f"tocsin.v1.{proto.stem}_pb2")
    assert generated(stub.DESCRIPTOR) == written(proto), "stale stubs: run `python protos/generate.py`"


def test_there_is_no_stub_without_its_proto() -> None:
    stubs = {path.name.removesuffix("_pb2.py") for path in GENERATED.glob("*_pb2.py")}
    assert stubs == {path.stem for path in ALL}
