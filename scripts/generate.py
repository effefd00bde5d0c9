"""Write the files that are made from code: settings for readers and VS Code, protocol tables.

``tests/test_generated.py`` fails when one of them is stale; ``make generate`` writes them anew.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from dgemma_lsp import methods
from dgemma_lsp.methods import fills, offers, rewrites, shapes, state
from dgemma_lsp.methods.shapes import Shape
from dgemma_lsp.settings import SECTION, Settings
from dgemma_wire import messages
from dgemma_wire.settings import RuntimeSettings

ROOT = Path(__file__).parent.parent
NOTICE = "<!-- Written by `make generate` from {source}; do not edit. -->"


def generated() -> dict[str, str]:
    """Return every generated file: its path in the repository, and its text."""
    return {
        "docs/configuration.md": configuration(),
        "docs/protocol.md": protocol(),
        "editors/vscode/package.json": extension_manifest(),
    }


def configuration() -> str:
    """Return the settings reference."""
    out = [
        NOTICE.format(source="dgemma_lsp/settings.py and runtime/dgemma_wire/settings.py"),
        "# Settings",
        "",
        f"Editors send these under `{SECTION}`: in `initializationOptions`, in answer to",
        "`workspace/configuration`, or with `workspace/didChangeConfiguration`. Later ones are",
        "laid over earlier ones; a wrong value is told once and leaves the earlier settings in",
        "force.",
        "",
        f"Those under `{SECTION}.runtime` are what a runtime process is started with. One that",
        "runs already keeps its own until it ends: `dgemma stop`, or the command",
        "`dgemma.restartRuntime`, lets the next request start one with the new settings.",
        "",
    ]
    for prefix, shape in (("", Settings), ("runtime.", RuntimeSettings)):
        for name, about, kind, default in settings(shape):
            if name == "runtime":
                continue
            out += [f"## `{SECTION}.{prefix}{name}`", "", about, ""]
            out += [f"{kind}. Default: {default}", ""]
    return "\n".join(out)


def settings(shape: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, description, type and default of every setting of a struct."""
    for field in msgspec.structs.fields(shape):
        info = msgspec.inspect.type_info(field.type)
        assert isinstance(info, msgspec.inspect.Metadata), f"{field.name} has no description"
        schema = info.extra_json_schema or {}
        if field.default is msgspec.NODEFAULT:
            yield field.encode_name, "", "", ""
            continue
        default = json.dumps(field.default)
        shown = (
            f"\n\n```json\n{json.dumps(field.default, indent=2)}\n```"
            if len(default) > 80
            else f"`{default}`"
        )
        yield field.encode_name, str(schema["description"]), type_name(info.type), shown


def type_name(kind: Any) -> str:
    """Return a type in words, with its bounds."""
    inspect_ = msgspec.inspect
    match kind:
        case inspect_.IntType(ge=low, le=high):
            bounds = [
                f"at least {low}" if low is not None else "",
                f"at most {high}" if high else "",
            ]
            return "A whole number" + "".join(f", {bound}" for bound in bounds if bound)
        case inspect_.BoolType():
            return "`true` or `false`"
        case inspect_.LiteralType(values=values):
            return "One of " + ", ".join(f"`{value}`" for value in values)
        case inspect_.VarTupleType(item_type=inspect_.StructType(fields=fields)):
            return "A list of objects with " + ", ".join(f"`{f.encode_name}`" for f in fields)
        case inspect_.VarTupleType():
            return "A list of strings"
        case inspect_.StrType():
            return "A string"
        case _:
            raise AssertionError(f"no words for {kind}")


def extension_manifest() -> str:
    """Return VS Code's manifest: what is written by hand there, our version, the server's settings.

    The first group of settings is the extension's own; all others are made here.
    """
    path = ROOT / "editors/vscode/package.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    manifest["version"] = project["version"]
    own, *_ = manifest["contributes"]["configuration"]
    groups = (("Server", "", Settings), ("Model process", "runtime.", RuntimeSettings))
    manifest["contributes"]["configuration"] = [
        own,
        *(
            {
                "title": title,
                "order": order,
                "properties": {
                    f"{SECTION}.{prefix}{field.encode_name}": manifest_setting(field)
                    for field in msgspec.structs.fields(shape)
                    if field.default is not msgspec.NODEFAULT
                },
            }
            for order, (title, prefix, shape) in enumerate(groups, start=2)
        ),
    ]
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def manifest_setting(field: Any) -> dict[str, Any]:
    """Return one setting as VS Code's manifests have it."""
    schema = msgspec.json.schema(field.type)
    about = schema.pop("description")
    named = schema.pop("$defs", {})
    if "items" in schema and "$ref" in schema["items"]:  # VS Code wants the shape in its place
        schema["items"] = named[schema["items"]["$ref"].rpartition("/")[2]]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    # What names a program or the machine's devices may differ from machine to machine.
    machine = field.name == "runtime_command" or field in msgspec.structs.fields(RuntimeSettings)
    return {
        **({"type": "string"} if "enum" in schema else {}),
        **schema,
        "default": default,
        "scope": "machine-overridable" if machine else "window",
        "markdownDescription": about,
    }


def protocol() -> str:
    """Return the tables of both protocols."""
    out = [
        NOTICE.format(source="dgemma_lsp/methods.py and runtime/dgemma_wire/messages.py"),
        "# Protocols",
        "",
        "## Between editor and server: LSP 3.18 and `dgemma/*`",
        "",
        "`textDocument/inlineCompletion` needs nothing of this. The methods below are for clients",
        "that want more; every one of them can be called from any LSP client. Positions are LSP's,",
        "in the encoding that was negotiated.",
        "",
        "| name | what it is |",
        "| --- | --- |",
    ]
    source = inspect.getsource(methods)
    for name, value in vars(methods).items():
        if name.isupper() and isinstance(value, str):
            about = source.split(f'{name} = "{value}"\n"""', 1)[1].split('"""', 1)[0]
            out.append(f"| `{value}` | {' '.join(about.split())} |")
    out.append("")
    for part in (fills, rewrites, offers, state, shapes):
        out += [f"### {(part.__doc__ or '').splitlines()[0].rstrip('.')}", ""]
        for shape in vars(part).values():
            if isinstance(shape, type) and shape.__module__ == part.__name__ and shape is not Shape:
                out += table(shape)
    out += [
        "## Between server and runtime: frames of msgpack",
        "",
        f"Protocol version **{messages.PROTOCOL_VERSION}**, shape `{fingerprint()}`. A frame is a",
        "4-byte big-endian length and a msgpack map whose `type` is the message's name in lower",
        "case. The rules of who may say what when are in `runtime/dgemma_wire/connection.py`.",
        "",
        "### From the server",
        "",
    ]
    for shape in get_args(messages.PeerMessage):
        out += table(shape)
    out += ["### Segments and pieces of a canvas", ""]
    for shape in get_args(messages.Piece):
        out += table(shape)
    out += ["### From the runtime", ""]
    for shape in get_args(messages.RuntimeMessage):
        out += table(shape)
    out += ["### Parts of messages", ""]
    for shape in (
        messages.Rewrite,
        messages.ModelLimits,
        messages.Capabilities,
        messages.RewriteKind,
        messages.DraftToken,
        messages.SpanToken,
        messages.Candidate,
        messages.Timings,
    ):
        out += table(shape)
    return "\n".join(out)


def table(shape: type[Any]) -> list[str]:
    """Return a heading, the docstring's first paragraph and a table of members."""
    about = inspect.getdoc(shape) or ""
    out = [
        f"#### {shape.__name__}",
        "",
        about.split("\n\n")[0].replace("\n", " ").replace("``", "`"),
        "",
    ]
    told = dict(attributes(about))
    fields = msgspec.structs.fields(shape)
    if not fields:
        return out
    out += ["| member | type | |", "| --- | --- | --- |"]
    for field in fields:
        info = msgspec.inspect.type_info(field.type)
        text = told.get(field.name, "")
        if isinstance(info, msgspec.inspect.Metadata):
            text = str((info.extra_json_schema or {}).get("description", text))
        out.append(f"| `{field.encode_name}` | {plain(field.type)} | {text} |")
    return [*out, ""]


def attributes(about: str) -> Iterator[tuple[str, str]]:
    """Yield the entries of a docstring's ``Attributes`` section."""
    lines = about.partition("Attributes:\n")[2].splitlines()
    name = text = ""
    for line in lines:
        if line.startswith("    ") and not line.startswith("     ") and ":" in line:
            if name:
                yield name, text.replace("``", "`")
            name, _, text = line.strip().partition(":")
            text = text.strip()
        elif line.strip():
            text += " " + line.strip()
    if name:
        yield name, text.replace("``", "`")


def plain(kind: Any) -> str:
    """Return a type as a reader of JSON would say it."""
    text = getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " ".join(f"`{member.value}`" for member in kind)
    text = str(text)
    if "Annotated" in text:
        return plain(kind.__origin__)
    text = re.sub(r"dgemma_(?:wire|lsp)\.(?:[a-z]\w*\.)+", "", text)
    text = re.sub(r"tuple\[(.*), \.\.\.\]", r"list of \1", text)
    text = re.sub(r"dict\[str, (\w+)\]", r"map to \1", text)
    return text.replace(" | ", " or ").replace("None", "null")


def fingerprint() -> str:
    """Return 12 hex digits that change with the shape of any wire message."""
    schema = msgspec.json.schema_components(
        [*get_args(messages.PeerMessage), *get_args(messages.RuntimeMessage)]
    )
    text = json.dumps(schema, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def main() -> int:
    for name, text in generated().items():
        path = ROOT / name
        path.write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
