"""What breaks a schema: candidates in their place in documents, against schemas on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_lsp.infill.judging import formats
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Fault, FaultPlace, Hole, RejectReason, Snapshot
from dgemma_lsp.infill.validate import check
from dgemma_lsp.schemas.store import Schemas
from dgemma_lsp.settings import SchemaSetting
from tests.lsp.holes import at_cursor

DATA = Path(__file__).parent / "data"
SCHEMAS = {"json": "package", "jsonc": "package", "yaml": "workflow", "toml": "pyproject"}


def placed(marked: str, language: str) -> tuple[Snapshot, int]:
    """A document with a cursor, and its schema by the settings."""
    problems: list[str] = []
    schemas = Schemas(problems.append)
    path = DATA / f"{SCHEMAS[language]}.schema.json"
    schemas.configure([SchemaSetting(schema=str(path), files=("**/*",))], ())
    snapshot, offset = at_cursor(marked, language)
    uri = f"file:///project/a.{language}"
    return replace(snapshot, uri=uri, schema=schemas.check_for(snapshot.language)), offset


def faults(marked: str, text: str, language: str) -> tuple[Fault, ...]:
    snapshot, offset = placed(marked, language)
    return formats.faults(snapshot, offset, text)


def broken(marked: str, text: str, language: str) -> list[str]:
    """The parts of the text that are at fault."""
    found = faults(marked, text, language)
    assert all(f.place is FaultPlace.INSIDE and 0 <= f.start < f.end <= len(text) for f in found)
    return [text[fault.start : fault.end] for fault in found]


JSON_CASES = {
    "enum": ('{"license": █}', '"MIT"', []),
    "enum broken": ('{"license": █}', '"GPL"', ['"GPL"']),
    "enum completed": ('{"license": "Apa█"}', "che-2.0", []),
    "enum completed badly": ('{"license": "Apa█"}', "che", ["che"]),
    "enum spoilt by hand": ('{"license": "Foo█"}', "bar", []),
    "const": ('{"type": "█"}', "commonjs", ["commonjs"]),
    "type": ('{"private": █}', '"yes"', ['"yes"']),
    "type of a container": ('{"scripts": █}', '["a"]', ['["a"]']),
    "type around the text": ('{"scripts": [█]}', '"a"', []),
    "unknown property": ('{"name": "a", █}', '"nme": 1', ['"nme"']),
    "unknown property by hand": ('{"nme": █}', "1", []),
    "property completed": ('{"sc█": {}}', "ripts", []),
    "property completed badly": ('{"sc█": {}}', "rupts", ["rupts"]),
    "pattern": ('{"version": █}', '"1.0"', ['"1.0"']),
    "pattern kept": ('{"version": █}', '"1.0.0"', []),
    "pattern in quotes": ('{"version": "█"}', "x", ["x"]),
    "length": ('{"name": █}', '"' + "a" * 21 + '"', ['"' + "a" * 21 + '"']),
    "item": ('{"keywords": ["a", █]}', "1", ["1"]),
    "items": ('{"keywords": █}', '["a", 1, "b", null]', ["1", "null"]),
    "item twice": ('{"keywords": ["a", █]}', '"a"', ['"a"']),
    "nested": ('{"contributors": [{"name": "x"}, {█}]}', '"name": 1', ["1"]),
    "nested enum": ('{"contributors": [{"name": "x", █}]}', '"role": "boss"', ['"boss"']),
    "required, object left open": ('{"contributors": [{█}]}', '"role": "code"', []),
    "required, object closed": ('{"contributors": [█]}', '{"role": "code"}', ['{"role": "code"}']),
    "required at the top": ("{█}", '"name": "a"', []),
    "reference": ('{"dependencies": {█}}', '"a": 1', ["1"]),
    "name of a property": ('{"dependencies": {█}}', '"Ä": "1"', ['"Ä"']),
    "any of": ('{"author": █}', '{"name": 1}', ["1"]),
    "any of, unknown property": ('{"author": █}', '{"name": "a", "x": 1}', ['"x"']),
    "any of, no such type": ('{"author": █}', "1", ["1"]),
    "any of, object left open": ('{"author": {█}}', '"age": 3', []),
    "any of, within an object": ('{"author": {"name": "a", █}}', '"age": "3"', ['"3"']),
    "not ascii": ('{"名": 1, "größe": █}', "0", ["0"]),
    "not ascii, kept": ('{"größe": █, "name": "a"}', "3", []),
    "emoji before": ('{"keywords": ["😀", █]}', '"😀😀", 7', ["7"]),
    "crlf": (
        '{\r\n  "name": "a",\r\n█\r\n}\r\n',
        '  "größe": "x",\r\n  "typ": 1',
        ['"x"', '"typ"'],
    ),
    "broken elsewhere": ('{"keywords": ["a" "b"], "license": █}', '"GPL"', ['"GPL"']),
    "no value at all": ('"a█', "b", []),
    "key without a value": ('{"name": "a", █}', '"private": ', []),
    "empty document": ("█", '{"name": "a", "private": 1}', ["{", "1"]),
    "duplicate key": ('{"name": "a", █}', '"name": "b"', ['"name"']),
    "duplicate key below": ('{█ "name": "a"}', '"name": "b",', ['"name"']),
    "duplicate key in the text": ("{█}", '"name": "b", "name": "c"', ['"name"']),
    "the same key elsewhere": ('{"author": {█}, "name": "a"}', '"name": "b"', []),
    "comments": ('// a\n{"license": /* b */ █}', '"GPL" // c\n', ['"GPL"']),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_json(case: str) -> None:
    marked, text, wrong = JSON_CASES[case]
    if case == "empty document":  # two errors: what is missing, and what is wrong
        assert [f.message for f in faults(marked, text, "json")] == [
            "lacks `version`",
            "`private`: must be of type boolean",
        ]
        return
    assert broken(marked, text, "json") == wrong


JOB = "on: push\njobs:\n  build:\n    runs-on: ubuntu-latest\n"
YAML_CASES = {
    "enum": ("on: █\n", "push", []),
    "one of": ("on: █\n", "pusch", ["pusch"]),
    "one of, in a list": ("on: █\n", "[push, pull]", ["pull"]),
    "one of, name": ("on:\n  █\n", "pushh:", ["pushh"]),
    "runner": ("on: push\njobs:\n  a:\n    runs-on: █\n", "ubuntu", ["ubuntu"]),
    "runner completed": ("on: push\njobs:\n  a:\n    runs-on: ubuntu-█\n", "latest", []),
    "type": (f"{JOB}    timeout-minutes: █\n", "ten", ["ten"]),
    "unknown property": (f"{JOB}    █\n", "step: []", ["step"]),
    "steps": (f"{JOB}    steps:\n      █\n", "- uses: actions/checkout\n      - run: make", []),
    "step without a body": (
        f"{JOB}    steps:\n      █\n",
        "- name: a\n      - run: b",
        ["name: a"],
    ),
    "step left open": (f"{JOB}    steps:\n      █\n", "- name: a", []),
    "step opened by hand": (
        f"{JOB}    steps:\n      - name: a\n        █\n",
        "shell: zsh",
        ["zsh"],
    ),
    "unknown in a step": (f"{JOB}    steps:\n      - run: a\n        █\n", "nam: b", ["nam"]),
    "second step": (f"{JOB}    steps:\n      - run: a\n█", "      - run: [b]\n", ["[b]"]),
    "name of a job": ("on: push\njobs:\n  █\n", "1a:\n    runs-on: ubuntu-latest", ["1a"]),
    "value not written yet": (f"{JOB}    █\n", "steps:", []),
    "alias": ("env: &e {A: 1}\non: push\njobs:\n  a: █\n", "*e", ["*e"]),
    "anchor": (f"{JOB}    steps:\n      █\n", "- &s\n        run: 1\n      - *s", ["1", "*s"]),
    "merge key": (
        f"{JOB}    steps:\n      - &s {{run: a}}\n      █\n",
        "- <<: *s\n      - run: b",
        [],
    ),
    "block scalar": (f"{JOB}    steps:\n      █\n", "- run: |\n          a: [\n          b", []),
    "two documents": ("name: 1\n---\non: █\n", "pusch", ["pusch"]),
    "crlf": ("on: push\r\njobs:\r\n  ä:\r\n█", "    x: 1\r\n", []),
    "crlf, property": ("name: ä\r\n█\r\n", "on: push\r\ntitle: b", ["title"]),
    "duplicate key": (f"{JOB}    █\n", "runs-on: ubuntu-latest", ["runs-on"]),
    "duplicate top": (f"{JOB}█", "on: push\n", ["on"]),
    "empty": ("█", "name: [", []),
    "tag": ("name: █\n", "!secret a", []),
}


@pytest.mark.parametrize("case", YAML_CASES)
def test_yaml(case: str) -> None:
    marked, text, wrong = YAML_CASES[case]
    assert broken(marked, text, "yaml") == wrong


TOML_CASES = {
    "type": ('[project]\nname = "a"\nversion = █\n', "1", ["1"]),
    "type kept": ("[project]\nname = █\n", '"a"', []),
    "unknown property": ('[project]\nname = "a"\n█\n', 'versoin = "1"', ["versoin"]),
    "unknown table": ("█", '[projekt]\nname = "a"\n', ["projekt"]),
    "pattern": ("[project]\nrequires-python = █\n", '"3.11"', ['"3.11"']),
    "item": ("[project]\ndependencies = [\n  █\n]\n", '"a",\n  1,', ["1"]),
    "inline table": ("[project]\nauthors = [█]\n", '{ nam = "a" }', ["nam"]),
    "nested table": ("[tool.lint]\n█\n", 'level = "mid"', ['"mid"']),
    "dotted key": ("[tool]\n█\n", "lint.line-length = 1.5", ["1.5"]),
    "array of tables": ("█", '[[tool.lint.rules]]\nid = "a"\non = 1\n', ["1"]),
    "required, closed": (
        "█",
        '[[tool.lint.rules]]\non = true\n[[tool.lint.rules]]\nid = "a"\n',
        ["[[tool.lint.rules]]\non = true"],
    ),
    "required, open": ("[[tool.lint.rules]]\n█\n", "on = true", []),
    "crlf": ('[project]\r\nname = "ä"\r\n█\r\n', 'version = "1"\r\nx = 1', ["x"]),
    "value not there": ("[project]\nname = \n[tool.lint]\nlevel = █\n", '"mid"', ['"mid"']),
    "date": ("[project]\nversion = █\n", "2024-01-01", []),
    "duplicate key": ('[project]\nname = "a"\n█\n', 'name = "b"', ["name"]),
    "duplicate table": ('[project]\nname = "a"\n█', "[project]\n", ["project"]),
    "two entries": ('[[tool.lint.rules]]\nid = "a"\n█', '[[tool.lint.rules]]\nid = "b"\n', []),
}


@pytest.mark.parametrize("case", TOML_CASES)
def test_toml(case: str) -> None:
    marked, text, wrong = TOML_CASES[case]
    assert broken(marked, text, "toml") == wrong


def test_a_fault_says_where_and_what() -> None:
    (fault,) = faults('{"contributors": [{"name": "x", █}]}', '"role": "boss"', "json")
    assert fault.reason is RejectReason.BREAKS_SCHEMA
    assert fault.message == '`contributors.0.role`: must be one of "code", "docs"'
    (fault,) = faults('{"a": 1, █}', '"a": 1', "json")[:1]
    assert fault.reason is RejectReason.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("marked", "text", "reason"),
    [
        ('{\n  "license": █\n}\n', '"GPL"', RejectReason.BREAKS_SCHEMA),
        ('{\n  "license": █\n}\n', '"MIT"', None),
        ('{\n  "private": true,\n  █\n}\n', '"private": false', RejectReason.DUPLICATE_KEY),
    ],
)
def test_the_validator_rejects_what_breaks_the_schema(
    marked: str, text: str, reason: RejectReason | None
) -> None:
    snapshot, offset = placed(marked, "json")
    hole = find_hole(snapshot, offset, invoked=True)
    assert isinstance(hole, Hole)
    _, verdict = check(snapshot, hole, text)
    assert (verdict.accepted, verdict.reason) == (reason is None, reason)


def test_other_languages_have_no_schema() -> None:
    snapshot, offset = at_cursor("x = █\n", "python")
    assert Schemas(lambda _: None).check_for(snapshot.language) is None
    assert formats.faults(snapshot, offset, '{"a": 1, "a": 2}') == ()


def test_long_documents_are_left_alone() -> None:
    filler = '"x", ' * 50_000
    assert broken(f'{{"keywords": [{filler}"y"], "license": █}}', '"GPL"', "json") == []


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    assert broken("\n".join([*lines, "on: █\n"]), "pusch", "yaml") == []


def test_deep_documents_are_read() -> None:
    deep = "[" * 3000 + "]" * 3000
    assert broken(f'{{"x": {deep}, "license": █}}', '"GPL"', "json") == ['"GPL"']


def test_a_comparison_ends_when_its_time_is_up(tmp_path: Path) -> None:
    from dgemma_lsp.schemas.check import DocumentSchema
    from dgemma_lsp.schemas.validator import Validator

    snapshot, offset = at_cursor('{"a": █}', "json")
    validator = Validator({"properties": {"a": {"type": "string"}}}, "file:///s.json", lambda _: {})
    assert len(DocumentSchema(validator).faults(snapshot, offset, "1")) == 1
    late = DocumentSchema(validator, budget_s=-1.0)
    assert late.faults(snapshot, offset, "1") == ()


PIECES = [
    '"a"',
    '"license"',
    ":",
    ",",
    "{",
    "}",
    "[",
    "]",
    "- ",
    "a",
    "=",
    "&a",
    "*a",
    "<<",
    "'",
    "|",
]
TEXTS = st.lists(st.sampled_from([*PIECES, "1", ".", "#", " ", "  ", "\n", "\r\n", "\t", "名😀"]))
STORES = {language: placed("█", language)[0].schema for language in SCHEMAS}


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(SCHEMAS)),
    TEXTS.map("".join),
    TEXTS.map("".join),
    TEXTS.map("".join),
)
def test_any_text_is_compared(language: str, before: str, text: str, after: str) -> None:
    snapshot, offset = at_cursor(f"{before}█{after}", language)
    snapshot = replace(snapshot, uri=f"file:///w/a.{language}", schema=STORES[language])
    for fault in formats.faults(snapshot, offset, text):
        assert 0 <= fault.start < fault.end <= len(text)
