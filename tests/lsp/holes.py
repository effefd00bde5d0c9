"""Reads ``tests/data/holes/*/*.hole``: a source with a cursor and what is expected there.

A file is the source with ``█`` at the cursor, then sections that start with ``====``:

    ==== kind: block                 the kind of hole, or ``declined: inside_word``
    ==== newline: crlf               the source and all texts are turned to CRLF
    ==== accepted                    a candidate, the lines that follow being its raw text
    ==== rejected: repeats_line      the same, rejected
    ---- insert: rule, rule          what is inserted instead, and the rules that cut it

The last line break before a section is not part of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgemma_lsp.infill.trigger import find_hole
from dgemma_lsp.infill.types import Declined, Hole, Snapshot
from dgemma_lsp.infill.validate import check
from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.tree import ParsedText

CURSOR = "█"
DATA = Path(__file__).parents[1] / "data" / "holes"


@dataclass(frozen=True)
class Expected:
    raw: str
    insert: str | None
    reason: str | None
    rules: tuple[str, ...] | None


@dataclass(frozen=True)
class HoleFile:
    snapshot: Snapshot
    offset: int
    kind: str
    candidates: tuple[Expected, ...]


def snapshot(text: str, language_id: str = "python", version: int = 1) -> Snapshot:
    language = by_id(language_id)
    parsed = ParsedText(text, language.usable_grammar())
    return Snapshot("file:///a", version, parsed, language)


def at_cursor(marked: str, language_id: str = "python") -> tuple[Snapshot, int]:
    offset = marked.index(CURSOR)
    return snapshot(marked.replace(CURSOR, "", 1), language_id), offset


def hole_at(marked: str, language_id: str = "python") -> tuple[Snapshot, Hole]:
    snap, offset = at_cursor(marked, language_id)
    hole = find_hole(snap, offset, invoked=True)
    assert isinstance(hole, Hole)
    return snap, hole


def read(path: Path) -> HoleFile:
    head, *sections = path.read_text(encoding="utf-8").split("\n==== ")
    crlf = False
    kind = ""
    found: list[Expected] = []
    for section in sections:
        title, _, body = section.partition("\n")
        key, _, value = title.partition(": ")
        if key == "kind":
            kind = value
        elif key == "declined":
            kind = title
        elif key == "newline":
            crlf = value == "crlf"
        else:
            assert key in ("accepted", "rejected"), f"{path.name}: {title}"
            found.append(_expected(body, value or None))
    # The final line break of the file belongs to no text.
    turn = (lambda text: text.replace("\n", "\r\n")) if crlf else str
    snap, offset = at_cursor(turn(head), path.parent.name)
    return HoleFile(
        snap,
        offset,
        kind,
        tuple(
            Expected(turn(one.raw), one.insert and turn(one.insert), one.reason, one.rules)
            for one in found
        ),
    )


def _expected(body: str, reason: str | None) -> Expected:
    raw, found, rest = ("\n" + body).partition("\n---- insert")
    raw = raw[1:]
    if not found:
        return Expected(raw.removesuffix("\n"), None, reason, ())
    rules, _, text = rest.partition("\n")
    names = tuple(name.strip() for name in rules.removeprefix(":").split(",") if name.strip())
    return Expected(raw, text.removesuffix("\n"), reason, names)


def check_file(path: Path) -> None:
    """Everything one file expects."""
    case = read(path)
    hole = find_hole(case.snapshot, case.offset)
    if isinstance(hole, Declined):
        assert case.kind == f"declined: {hole.reason}"
        return
    assert case.kind == hole.kind
    for expected in case.candidates:
        text, verdict = check(case.snapshot, hole, expected.raw)
        told = f"{path.name}: {expected.raw!r} -> {text!r} {verdict}"
        assert verdict.reason == expected.reason, told
        assert verdict.accepted == (expected.reason is None), told
        assert text == (expected.raw if expected.insert is None else expected.insert), told
        assert verdict.trimmed == expected.rules, told
        again, second = check(case.snapshot, hole, text)
        assert again == text, told
        assert second.accepted == verdict.accepted or not text.strip(), told
