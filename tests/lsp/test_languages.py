"""Every language: its cases, its node types, its names, and what is left when its wheel is not.

``language_cases/<identifier>.toml`` has the cases of a language, each a source with ``‸`` at the
cursor:

    name    what the case is about
    kind    the kind of hole there
    accept  texts that are good there, and are inserted as they are
    trim    texts that are cut, to what is inserted
    reject  texts that must not be shown, to why
    crlf    the source has CRLF line breaks (the texts say themselves which they have)
    unfair  texts as in ``accept`` that the judge does not let through yet, to why
    missed  texts as in ``reject`` that the judge does not notice yet, to why
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lsprotocol import types

from dgemma_lsp.cli import doctor
from dgemma_lsp.features.documents import did_open
from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Hole, HoleKind, Snapshot
from dgemma_lsp.infill.validate import check
from dgemma_lsp.languages import ALL, GENERIC, Language, by_extension, by_id, by_name
from dgemma_lsp.session import Session
from dgemma_lsp.syntax.grammar import load_grammar
from dgemma_lsp.syntax.tree import ParsedText

CURSOR = "‸"
CASES = Path(__file__).parent / "language_cases"
LEAST_CASES = 8


@dataclass(frozen=True)
class Case:
    """One text for one hole; ``insert`` is ``None`` for a text that must not be shown."""

    language: str
    name: str
    source: str
    kind: str
    text: str
    insert: str | None
    why: str = ""


def cases_of(language: str) -> list[dict]:
    return tomllib.loads((CASES / f"{language}.toml").read_text(encoding="utf-8"))["case"]


def source_of(case: dict) -> str:
    # The multi-line strings end with a line break, as files do.
    source: str = case["source"]
    return source.replace("\n", "\r\n") if case.get("crlf") else source


def all_cases() -> Iterator[object]:
    for path in sorted(CASES.glob("*.toml")):
        for case in cases_of(path.stem):
            place = (path.stem, case["name"], source_of(case), case["kind"])
            known = [Case(*place, text, text) for text in case.get("accept", [])]
            known += [Case(*place, text, insert) for text, insert in case.get("trim", {}).items()]
            known += [Case(*place, text, None, why) for text, why in case.get("reject", {}).items()]
            yield from (pytest.param(each, id=identifier(each)) for each in known)
            wrong = [Case(*place, text, text, why) for text, why in case.get("unfair", {}).items()]
            wrong += [Case(*place, text, None, why) for text, why in case.get("missed", {}).items()]
            for each in wrong:
                mark = pytest.mark.xfail(strict=True, reason=each.why)
                yield pytest.param(each, id=identifier(each), marks=mark)


def identifier(case: Case) -> str:
    verb = "rejects" if case.insert is None else "accepts"
    return f"{case.language}: {case.name} {verb} {case.text!a}"


def snapshot_of(case: Case) -> tuple[Snapshot, int]:
    language = by_id(case.language)
    text = case.source.replace(CURSOR, "", 1)
    parsed = ParsedText(text, language.usable_grammar())
    return Snapshot("file:///a", 1, parsed, language), case.source.index(CURSOR)


@pytest.mark.parametrize("case", all_cases())
def test_case(case: Case) -> None:
    snapshot, offset = snapshot_of(case)
    hole = find_hole(snapshot, offset)
    assert isinstance(hole, Hole)
    assert hole.kind == case.kind
    text, verdict = check(snapshot, hole, case.text)
    assert verdict.accepted == (case.insert is not None), f"{case.why}: {text!r} {verdict}"
    if case.insert is not None:
        assert text == case.insert
    grammar = snapshot.language.grammar
    assert verdict.parser == (grammar and grammar.name)


@pytest.mark.parametrize("language", ALL, ids=lambda each: each.name)
def test_every_language_has_cases(language: Language) -> None:
    cases = cases_of(language.ids[0])
    assert len(cases) >= LEAST_CASES
    assert all(case["source"].count(CURSOR) == 1 for case in cases)
    assert max(Counter(case["name"] for case in cases).values()) == 1
    assert {"mid_line", "line", "block"} <= {case["kind"] for case in cases}
    assert sum(len(case.get("reject", {})) for case in cases) >= 2


def test_no_cases_without_a_language() -> None:
    known = {language.ids[0] for language in ALL} | {"plaintext"}
    assert {path.stem for path in CASES.glob("*.toml")} == known


@pytest.mark.parametrize("language", ALL, ids=lambda each: each.name)
def test_node_types_are_the_grammars(language: Language) -> None:
    grammar = language.usable_grammar()
    assert grammar is not None
    kinds = {
        grammar.language.node_kind_for_id(number)
        for number in range(grammar.language.node_kind_count)
        if grammar.language.node_kind_is_named(number)
        and grammar.language.node_kind_is_visible(number)
    }
    named = language.block_nodes | language.opaque_nodes | language.bracket_nodes
    assert named - kinds == set()
    assert language.hollow_node in {"", *kinds}
    assert language.fault_nodes - kinds == set()
    assert not language.block_nodes & (language.opaque_nodes | language.bracket_nodes)
    assert not language.opaque_nodes & language.bracket_nodes


@pytest.mark.parametrize("language", ALL, ids=lambda each: each.name)
def test_the_placeholder_parses(language: Language) -> None:
    """It stands for a value, so it is tried where each language has one."""
    frames = {"css": "a { top: %s }", "toml": "a = %s", "yaml": "a: %s", "html": "<p>%s</p>"}
    frames |= {"sql": "SELECT %s;", "php": "<?php\n%s;", "go": "package m\nvar a = %s"}
    frames |= {"rust": "const A: u8 = %s;", "c": "int a = %s;", "c++": "int a = %s;"}
    frames |= {"java": "class A { int a = %s; }", "c#": "class A { int a = %s; }"}
    frames |= {"lua": "a = %s"}
    text = frames.get(language.name, "%s") % language.placeholder
    tree = ParsedText(text, language.usable_grammar()).tree
    assert tree is not None
    assert not tree.root_node.has_error


@pytest.mark.parametrize("field", ["ids", "extensions", "file_names", "aliases"])
def test_names_are_one_languages(field: str) -> None:
    names = Counter(name for language in ALL for name in getattr(language, field))
    assert [name for name, count in names.items() if count > 1] == []
    assert all(name == name.lower() for name in names) or field == "file_names"


def test_every_name_leads_to_its_language() -> None:
    for language in ALL:
        assert all(by_id(name) is language for name in language.ids)
        assert all(by_extension(f"a/b{ending}") is language for ending in language.extensions)
        assert all(by_extension(f"a/{name}") is language for name in language.file_names)
        said = (language.name, *language.aliases, *language.ids)
        assert all(by_name(name) is language for name in said)
    for alias, name in {"py": "python", "C++": "c++", "yml": "yaml", "sh": "bash"}.items():
        assert by_name(alias).name == name
    assert by_name("cobol") is GENERIC


def test_grammars_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, dgemma_lsp.server, dgemma_lsp.cli.main;"
        "wheel = lambda name: name.startswith('tree_sitter_') and '.' not in name;"
        "loaded = lambda: set(filter(wheel, sys.modules));"
        "assert not loaded(), loaded();"
        "from dgemma_lsp.languages import by_id;"
        "by_id('html').usable_grammar();"
        "assert loaded() == {'tree_sitter_html'}, loaded()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Language]:
    """C, for as long as its wheel cannot be imported."""
    load_grammar.cache_clear()
    monkeypatch.setitem(sys.modules, "tree_sitter_c", None)
    yield by_id("c")
    load_grammar.cache_clear()


MISSING = [
    ("int main(void) {\n  f(‸);\n}\n", "mid_line", "a, b", True),
    ("int main(void) {\n  f(‸);\n}\n", "mid_line", "a, (b", False),
    ("int main(void) {\n  f(‸);\n}\n", "mid_line", '"a', False),
    ("int main(void) {\n  ‸\n}\n", "block", "if (a) {\n    f();\n  }", True),
    ("int main(void) {\n  ‸\n}\n", "block", "f(];", False),
    ("int main(void) {‸\n}\n", "block", "\n  int = 1;", True),
]


@pytest.mark.parametrize(("source", "kind", "text", "good"), MISSING)
def test_a_missing_wheel_leaves_brackets_quotes_and_indentation(
    no_wheel: Language, source: str, kind: str, text: str, good: bool
) -> None:
    snapshot, offset = snapshot_of(Case(no_wheel.ids[0], "", source, kind, text, None))
    assert snapshot.parsed.tree is None
    hole = find_hole(snapshot, offset)
    assert hole == Hole(offset, HoleKind(kind))
    assert isinstance(hole, Hole)
    inserted, verdict = check(snapshot, hole, text)
    assert (verdict.accepted, verdict.parser, inserted) == (good, None, text)


def test_a_missing_wheel_is_told_once(no_wheel: Language) -> None:
    told: list[str] = []
    session = Session("1", lambda _: None, told.append)
    for uri in ("file:///a.c", "file:///b.c"):
        item = types.TextDocumentItem(uri, no_wheel.ids[0], 1, "int a;\n")
        did_open(session, types.DidOpenTextDocumentParams(item))
    assert len(told) == 1
    assert "tree-sitter-c" in told[0]
    assert "brackets, quotes and indentation" in told[0]
    found = session.documents.snapshot("file:///b.c")
    assert found is not None
    assert found.language is no_wheel


def test_doctor_lists_every_language(no_wheel: Language) -> None:
    summary, *each = doctor.grammars()
    assert summary.value == f"{len(ALL) - 1} of {len(ALL)} usable"
    assert [finding.name.strip() for finding in each] == [language.name for language in ALL]
    for language, finding in zip(ALL, each, strict=True):
        if language is no_wheel:
            assert finding.ok is None
            assert finding.value.startswith("missing: bracket checks only")
            assert "tree-sitter-c" in finding.value
        else:
            assert finding.ok is True
            assert re.search(r"^tree-sitter-[a-z-]+ \d+\.\d+", finding.value)


def test_the_document_lists_every_language() -> None:
    text = (Path(__file__).parents[2] / "docs" / "languages.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(ALL)
    for (_, ids, package, block), language in zip(rows, ALL, strict=True):
        assert re.findall(r"`([^`]+)`", ids) == list(language.ids)
        assert language.grammar is not None
        assert package == language.grammar.package
        assert block.removesuffix(" |") == language.block


def test_the_distribution_brings_every_grammar() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    brought = {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}
    assert {language.grammar.package for language in ALL if language.grammar} <= brought
