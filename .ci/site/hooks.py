"""What the site has beside the pages of docs: the API's reference, made of the protos' comments, and the decisions.

Links that lead out of docs go to the repository, those to a proto to its page of the reference.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
_OUT = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}
_MESSAGE, _ENUM, _FIELD, _NESTED, _NESTED_ENUM, _SERVICE, _METHOD, _VALUE = 4, 5, 2, 3, 4, 6, 2, 2


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages that are made into the navigation."""
    reference = [{file.stem: f"reference/{file.stem}.md"} for file in _protos()]
    decisions = [f"decisions/{file.name}" for file in _decisions()]
    *tasks, [(title, pages)] = [list(one.items()) for one in config.nav or []]
    config.nav = [dict(one) for one in tasks]
    config.nav += [{"API reference": reference}, {title: [*pages, {"Decisions": decisions}]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference."""
    described = _described()
    where = {name: Path(file.name).stem for file in described for name in _names(file.message_type, file.enum_type, "")}
    for file in described:
        name = Path(file.name).stem
        content = "\n".join(_Reference(file, where).lines())
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links out of docs to where they can be followed."""
    depth = page.file.src_uri.count("/")

    def target(found: re.Match[str]) -> str:
        ups, path = found["up"].count("../"), found["path"]
        if ups <= depth:
            return found[0]
        if path.startswith("protos/tocsin/v1/") and path.endswith(".proto"):
            return f"]({'../' * depth}reference/{Path(path).stem}.md{found['anchor'] or ''})"
        return f"]({config.repo_url.rstrip('/')}/blob/main/{path}{found['anchor'] or ''})"

    # A folder has no page of its own here.
    return _OUT.sub(target, markdown.replace("](decisions)", f"](decisions/{_decisions()[0].name})"))


def _decisions() -> Sequence[Path]:
    return sorted((ROOT / "docs/decisions").glob("*.md"))


def _protos() -> Sequence[Path]:
    return sorted((PROTOS / "tocsin/v1").glob("*.proto"))


def _described() -> Sequence[pb.FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "--include_source_info"]
        files = map(str, _protos())
        subprocess.run([*command, f"--descriptor_set_out={out}", *files], check=True)  # noqa: S603 - our own files
        return pb.FileDescriptorSet.FromString(out.read_bytes()).file


class _Reference:
    """The page of one proto."""

    def __init__(self, file: pb.FileDescriptorProto, where: Mapping[str, str]) -> None:
        self._file = file
        self._where = where
        self._said = {
            tuple(place.path): place.leading_comments.strip()
            for place in file.source_code_info.location
            if place.leading_comments
        }

    def lines(self) -> Iterator[str]:
        """Markdown."""
        yield f"# {Path(self._file.name).stem}\n"
        yield f"`{self._file.name}`, package `{self._file.package}`.\n"
        for i, service in enumerate(self._file.service):
            yield from self._service(service, (_SERVICE, i))
        for i, message in enumerate(self._file.message_type):
            yield from self._message(message, (_MESSAGE, i), "")
        for i, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (_ENUM, i), "")

    def _service(self, service: pb.ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"## {service.name}\n\n{self._comment(path)}\n"
        for i, method in enumerate(service.method):
            asked = f"{'stream of ' if method.client_streaming else ''}{self._link(method.input_type)}"
            answered = f"{'stream of ' if method.server_streaming else ''}{self._link(method.output_type)}"
            yield f"### {service.name}.{method.name}\n\n{asked} → {answered}\n\n{self._comment((*path, _METHOD, i))}\n"

    def _message(self, message: pb.DescriptorProto, path: tuple[int, ...], within: str) -> Iterator[str]:
        if message.options.map_entry:
            return
        name = f"{within}{message.name}"
        yield f"## {name} {{#{name}}}\n\n{self._comment(path)}\n"
        if message.field:
            yield "| field | type | |\n|---|---|---|"
            for i, field in enumerate(message.field):
                said = self._comment((*path, _FIELD, i)).replace("\n", " ").replace("|", "\\|")
                yield f"| `{field.name}` ({field.number}) | {self._type(field, message)} | {said} |"
            yield ""
        for i, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, _NESTED_ENUM, i), f"{name}.")
        for i, nested in enumerate(message.nested_type):
            yield from self._message(nested, (*path, _NESTED, i), f"{name}.")

    def _enum(self, enum: pb.EnumDescriptorProto, path: tuple[int, ...], within: str) -> Iterator[str]:
        yield f"## {within}{enum.name} {{#{within}{enum.name}}}\n\n{self._comment(path)}\n\n| value | |\n|---|---|"
        for i, value in enumerate(enum.value):
            said = self._comment((*path, _VALUE, i)).replace("\n", " ").replace("|", "\\|")
            yield f"| `{value.name}` ({value.number}) | {said} |"
        yield ""

    def _type(self, field: pb.FieldDescriptorProto, message: pb.DescriptorProto) -> str:
        entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            return f"map of {self._type(entry.field[0], entry)} to {self._type(entry.field[1], entry)}"
        name = self._link(field.type_name) if field.type_name else f"`{_TYPES[field.type]}`"
        if field.label == pb.FieldDescriptorProto.LABEL_REPEATED:
            return f"repeated {name}"
        return f"optional {name}" if field.proto3_optional else name

    def _link(self, type_: str) -> str:
        """A message or enum, with a link where it is one of ours."""
        name = type_.lstrip(".").removeprefix("tocsin.v1.")
        return f"[`{name}`]({self._where[name]}.md#{name})" if name in self._where else f"`{name}`"

    def _comment(self, path: tuple[int, ...]) -> str:
        return _plain("\n".join(line.strip() for line in self._said.get(path, "").splitlines()))


def _plain(said: str) -> str:
    """Comments are no markup: what stands between backticks is code, and nothing else means anything."""
    parts = said.split("`")
    return "`".join(re.sub(r"([<>*_\[\]])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def _names(
    messages: Iterable[pb.DescriptorProto], enums: Iterable[pb.EnumDescriptorProto], within: str
) -> Iterator[str]:
    for enum in enums:
        yield f"{within}{enum.name}"
    for message in messages:
        yield f"{within}{message.name}"
        yield from _names(message.nested_type, message.enum_type, f"{within}{message.name}.")
