"""Which schema is used, and what is never read: addresses, other folders, pipes, huge files."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.schemas import files
from dgemma_lsp.schemas.patterns import usable
from dgemma_lsp.schemas.store import Schemas
from dgemma_lsp.session import Session
from dgemma_lsp.settings import IGNORED_BY_DEFAULT, SchemaSetting
from dgemma_lsp.syntax.tree import ParsedText

CURSOR = "█"
NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
OTHERS = {"json": '{"a": █}', "yaml": "a: █\n", "toml": "a = █\n"}


class Bench:
    """A folder with documents and schemas, and what was told of them."""

    def __init__(self, folder: Path, ignore: tuple[str, ...] = IGNORED_BY_DEFAULT) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.schemas = Schemas(self.problems.append)
        self.ignore = ignore
        self.schemas.open(folder.as_uri())
        self.configure()

    def configure(self, *settings: SchemaSetting) -> None:
        self.schemas.configure(settings, self.ignore)

    def write(self, name: str, schema: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema), encoding="utf-8")
        return path

    def messages(
        self, marked: str, text: str, language: str = "json", name: str = "a"
    ) -> list[str]:
        offset = marked.index(CURSOR)
        parsed = ParsedText(marked.replace(CURSOR, ""), by_id(language).usable_grammar())
        uri = (self.folder / f"{name}.{language}").as_uri()
        snapshot = Snapshot(uri, 1, parsed, by_id(language), self.schemas)
        return [fault.message for fault in self.schemas.faults(snapshot, offset, text)]

    def judges(self, marked: str, language: str = "json") -> bool:
        """Whether a string in the place of a number is found to be wrong."""
        return self.messages(marked, '"x"', language) != []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "wörk space")


def named(schema: str) -> str:
    return f'{{"$schema": {json.dumps(schema)}, "a": █}}'


def numbers() -> dict[str, Any]:
    return {**NUMBERS, "properties": {"$schema": {"type": "string"}}}


def test_a_document_names_its_schema(bench: Bench) -> None:
    path = bench.write("schemas/näme.json", numbers())
    assert bench.judges(named("./schemas/näme.json"))
    assert bench.judges(named("schemas/../schemas/näme.json"))
    assert bench.judges(named(str(path)))
    assert bench.judges(named(path.as_uri()))
    assert not bench.judges(OTHERS["json"])
    assert bench.problems == []


def test_comments_name_a_schema_in_yaml_and_toml(bench: Bench) -> None:
    bench.write("s.json", NUMBERS)
    assert bench.judges("# yaml-language-server: $schema=s.json\na: █\n", "yaml")
    assert bench.judges("---\n# yaml-language-server: $schema=./s.json\r\na: █\r\n", "yaml")
    assert not bench.judges("b: 1\n# yaml-language-server: $schema=s.json\na: █\n", "yaml")
    assert bench.judges("#:schema s.json\na = █\n", "toml")
    assert bench.judges("# title\n#:schema s.json\n\na = █\n", "toml")
    assert not bench.judges("b = 1\n#:schema s.json\na = █\n", "toml")


@pytest.mark.parametrize("language", sorted(OTHERS))
def test_the_settings_name_a_schema(bench: Bench, language: str) -> None:
    bench.write("s.json", NUMBERS)
    bench.write("first.json", {})
    bench.configure(SchemaSetting(schema="s.json", files=(f"a.{language}",)))
    assert bench.judges(OTHERS[language], language)
    bench.configure(
        SchemaSetting(schema="first.json", files=("a.*",)),
        SchemaSetting(schema="s.json", files=("**/*",)),
    )
    assert not bench.judges(OTHERS[language], language)
    bench.configure(SchemaSetting(schema=str(bench.folder / "s.json"), files=("elsewhere/*",)))
    assert not bench.judges(OTHERS[language], language)


def test_the_documents_own_schema_goes_first(bench: Bench) -> None:
    bench.write("own.json", {})
    bench.write("s.json", NUMBERS)
    bench.configure(SchemaSetting(schema="s.json", files=("**/*",)))
    assert not bench.judges(named("own.json"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Fail, and note it, when anything opens a socket or looks up a name."""
    tried: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        tried.append(args)
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def test_addresses_are_never_fetched(bench: Bench, no_network: list[object]) -> None:
    for scheme in ("http", "https", "ftp"):
        assert not bench.judges(named(f"{scheme}://127.0.0.1:9/s.json"))
    assert not bench.judges(named("file://server/share/s.json"))
    assert not bench.judges(named("//server/share/s.json"))
    assert not bench.judges("# yaml-language-server: $schema=https://a.example/s\na: █\n", "yaml")
    remote = {
        **numbers(),
        "$schema": "https://schemas.example/dialect",
        "$id": "https://schemas.example/s.json",
        "properties": {"b": {"$ref": "https://127.0.0.1:9/other.json#/definitions/x"}},
    }
    bench.write("s.json", remote)
    assert bench.messages('{"$schema": "./s.json", █}', '"a": "x", "b": "x"') == [
        "`a`: must be of type number"
    ]
    assert no_network == []
    assert bench.problems == []


def test_the_settings_map_an_address_to_a_file(bench: Bench, no_network: list[object]) -> None:
    bench.write("s.json", numbers())
    bench.configure(SchemaSetting(schema="s.json", urls=("https://a.example/s.json",)))
    assert bench.judges(named("https://a.example/s.json"))
    assert bench.judges(named("https://a.example/s.json#"))
    assert not bench.judges(named("https://b.example/s.json"))
    assert no_network == []


def test_references_to_files_beside_and_below(bench: Bench) -> None:
    bench.write("schemas/parts/number.json", {"definitions": {"n": {"type": "number"}}})
    bench.write("schemas/also.json", {"$ref": "parts/number.json#/definitions/n"})
    main = {"properties": {"a": {"$ref": "./also.json"}}}
    bench.write("schemas/s.json", main)
    assert bench.judges(named("schemas/s.json"))
    bench.write("schemas/s.json", {**main, "$id": "https://schemas.example/deep/s.json", "x": 1})
    assert bench.judges(named("schemas/s.json"))


def test_references_out_of_the_folder_are_not_read(bench: Bench) -> None:
    outer = bench.write("outer.json", {"type": "number"})
    outside = ["../outer.json", "sub/../../outer.json", outer.as_uri(), "link.json"]
    (bench.folder / "schemas").mkdir()
    (bench.folder / "schemas/link.json").symlink_to(outer)
    for at, reference in enumerate(outside):
        bench.write(f"schemas/s{at}.json", {"properties": {"a": {"$ref": reference}}})
        assert not bench.judges(named(f"schemas/s{at}.json")), reference
    bench.write("s.json", {"properties": {"a": {"$ref": "outer.json"}}})
    assert bench.judges(named("s.json"))


def test_ignored_files_are_not_read(bench: Bench) -> None:
    bench.write("my-secret.json", numbers())
    bench.write("s.json", {"properties": {"a": {"$ref": "my-secret.json"}}})
    (bench.folder / "link.json").symlink_to(bench.folder / "my-secret.json")
    assert not bench.judges(named("my-secret.json"))
    assert not bench.judges(named("s.json"))
    assert not bench.judges(named("link.json"))
    bench.ignore = ()
    bench.configure()
    assert bench.judges(named("my-secret.json"))
    assert bench.judges(named("s.json"))


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b'{"a": \n\n oops', "is not JSON at line 3"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[1]", "a schema is an object"),
        (b'{"properties": 3}', "`properties` breaks the rule `type`"),
        (b'{"properties": {"a": {"type": "strng"}}}', "`properties/a/type`"),
        (b" " * (files.MAX_BYTES + 1), "is longer than 4 MiB"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_schema_is_told_once(bench: Bench, contents: bytes, said: str) -> None:
    bench.folder.mkdir()
    path = bench.folder / "s.json"
    path.write_bytes(contents)
    for _ in range(3):
        assert not bench.judges(named("s.json"))
    assert len(bench.problems) == 1
    assert said in bench.problems[0]
    assert str(path) in bench.problems[0]


@pytest.mark.parametrize("depth", [100, 300, 900, 990])
def test_a_deep_schema_does_no_harm(bench: Bench, depth: int) -> None:
    bench.folder.mkdir()
    schema = '{"not": ' * depth + '{"properties": {"a": {"type": "number"}}}' + "}" * depth
    (bench.folder / "s.json").write_text(schema)
    bench.judges(named("s.json"))
    (bench.folder / "t.json").write_text('{"$ref": "s.json"}')
    bench.judges(named("t.json"))


def test_a_missing_schema_is_told_only_when_the_settings_name_it(bench: Bench) -> None:
    assert not bench.judges(named("half-writ"))
    assert bench.problems == []
    bench.configure(SchemaSetting(schema="gone.json", files=("**/*",)))
    assert not bench.judges(OTHERS["json"])
    assert not bench.judges(OTHERS["json"])
    assert len(bench.problems) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(bench: Bench) -> None:
    bench.folder.mkdir()
    os.mkfifo(bench.folder / "s.json")
    assert not bench.judges(named("s.json"))
    assert not bench.judges(named("/dev/zero"))
    assert ["ordinary" in problem for problem in bench.problems] == [True, True]


def test_a_changed_schema_is_read_again(bench: Bench) -> None:
    path = bench.write("s.json", {})
    assert not bench.judges(named("s.json"))
    bench.write("s.json", numbers())
    os.utime(path, ns=(1, 1))
    assert bench.judges(named("s.json"))
    bench.write("part.json", {"type": "number"})
    bench.write("t.json", {"properties": {"a": {"$ref": "part.json"}}})
    assert bench.judges(named("t.json"))
    part = bench.write("part.json", {"type": "string"})
    os.utime(part, ns=(2, 2))
    assert not bench.judges(named("t.json"))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {
            "properties": {"a": {"$ref": "#/definitions/x"}},
            "definitions": {"x": {"$ref": "s.json"}},
        },
        {"properties": {"a": {"$ref": "#/definitions/x"}}, "definitions": {}},
        {"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}},
    ],
)
def test_references_in_circles_end(bench: Bench, schema: dict[str, Any]) -> None:
    bench.write("s.json", schema)
    bench.judges(named("s.json"))
    assert bench.problems == []


def test_a_recursive_schema_works(bench: Bench) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/definitions/node"}}}
    node["additionalProperties"] = {"type": "number"}
    bench.write(
        "s.json",
        {"properties": {"a": {"$ref": "#/definitions/node"}}, "definitions": {"node": node}},
    )
    assert bench.messages('{"$schema": "s.json", "a": {"next": {"next": █}}}', '{"x": "y"}') == [
        "`a.next.next.x`: must be of type number"
    ]


def test_patterns_that_cannot_be_used_allow_anything(bench: Bench) -> None:
    bad = {"properties": {"a": {"pattern": r"^(\w+)+$"}, "b": {"pattern": r"^\p{L}$"}}}
    names = {"patternProperties": {"^(x|y)*$": {"type": "number"}}, "additionalProperties": False}
    bench.write("s.json", {**bad, **names})
    assert bench.messages('{"$schema": "s.json", █}', f'"a": "{"x" * 60}!", "b": "?", "c": 1') == []
    assert bench.problems == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^(a+)+$", False),
        (r"((a+)b)*", False),
        (r"(a|b)*c", False),
        (r"(-[a-z-]+)*", False),
        (r"(.\w+)*", False),
        (r"\p{L}", False),
        (r"^\d+(\.\d+)*$", True),
        (r"^[a-z0-9]+(?:-[a-z0-9]+)*$", True),
        (r"^(\d{1,3}\.){3}\d{1,3}$", True),
        (r"^(foo|bar)$", True),
        (r"[(]*+", True),
    ],
)
def test_which_patterns_are_used(pattern: str, expected: bool) -> None:
    assert usable(pattern) is expected


def test_a_session_attaches_schemas(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(NUMBERS))
    session = Session("0", lambda _: None, lambda _: None)
    session.schemas.open(tmp_path.as_uri())
    session.configure("1", {"schemas": [{"files": ["*.yaml"], "schema": "s.json"}]})
    uri = (tmp_path / "a.yaml").as_uri()
    session.documents.open(uri, "yaml", 1, "a: ")
    snapshot = session.documents.snapshot(uri)
    assert snapshot is not None
    assert snapshot.schema is not None
    (fault,) = snapshot.schema.faults(snapshot, 3, "x")
    assert fault.message == "`a`: must be of type number"
    session.documents.open(uri, "python", 1, "a = ")
    snapshot = session.documents.snapshot(uri)
    assert snapshot is not None
    assert snapshot.schema is None


def test_the_library_is_imported_when_a_schema_applies() -> None:
    import subprocess

    code = (
        "import sys, dgemma_lsp.server; from dgemma_lsp.session import Session;"
        "s = Session('0', print, print); s.documents.open('file:///a.json', 'json', 1, '{}');"
        "d = s.documents.snapshot('file:///a.json'); d.schema.faults(d, 1, '\"a\": 1');"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
