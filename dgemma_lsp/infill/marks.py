"""The holes that somebody marked in a document: blanks of underscores, and comments with ``TODO:``.

A blank is three or more underscores that stand alone, outside of strings and comments. A comment is
a hole's instruction when what it asks for is missing, or only a placeholder such as ``pass``; the
comment stays. Offsets and strings only; what is put into a hole is not known here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from dgemma_lsp.infill import injections
from dgemma_lsp.infill.trim import newline_of
from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.parse import path_to
from dgemma_lsp.syntax.scope import indent_width, leading_blanks, opens_block
from dgemma_lsp.syntax.tree import ParsedText

MOST_HOLES = 64
"""Marked holes of one document that are looked at; a form with more is not source code."""

_BLANK = re.compile(r"(?<!\w)_{3,}(?!\w)")
_PLACEHOLDER = re.compile(
    r"(?:pass|\.\.\."
    r"|raise NotImplementedError\b.*"
    r"|(?:todo|unimplemented)!\(.*\)"
    r"|TODO\(.*\)"
    r"|throw new \w*(?:NotImplemented|NotSupported|UnsupportedOperation)\w*\(.*\)"
    r"|throw (?:new )?Error\(\W*(?:not (?:yet )?implemented|todo|unimplemented).*\)"
    r"|panic\(\W*(?:not (?:yet )?implemented|todo|unimplemented).*\)"
    r"|error\(\W*(?:not (?:yet )?implemented|todo|unimplemented).*\)"
    r");?",
    re.IGNORECASE,
)
"""What stands for a body that nobody has written yet."""

_SHORT_BODY = re.compile(r":[ \t]*(?P<body>pass|\.\.\.)[ \t]*\Z")
_SHORT_BRACES = re.compile(r"\{(?P<inside>[^{}]*)\}[ \t]*;?[ \t]*\Z")
_HEAD_LINES = 12
"""Lines that the head of a function may span."""

_INSIDE_STRINGS = frozenset(
    {
        "command_substitution",
        "embedded_expression",
        "expansion",
        "format_expression",
        "interpolation",
        "string_interpolation",
        "template_substitution",
    }
)
"""Node types in which code stands inside a string."""

_UNIT_LINES = 400
"""Lines looked at for how a document indents."""


class Mark(StrEnum):
    """How a hole is marked."""

    BLANK = "blank"
    TODO = "todo"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Marked:
    """A marked hole: what is put in stands between ``lead`` and ``tail``.

    Attributes:
        start: Where what is replaced starts.
        end: Where it ends; equal to ``start`` where nothing is replaced.
        mark: How it is marked.
        lead: Text that goes in before: the line break and indentation of a body that is missing.
        tail: Text that goes in behind.
    """

    start: int
    end: int
    mark: Mark
    lead: str = ""
    tail: str = ""


def find_marked(snapshot: Snapshot, start: int = 0, end: int | None = None) -> tuple[Marked, ...]:
    """The marked holes that a range of offsets touches, in order and apart from each other."""
    end = len(snapshot.text) if end is None else end
    found: list[Marked] = []
    for each in sorted([*_blanks(snapshot), *_todos(snapshot)], key=lambda one: one.start):
        apart = not found or each.start > found[-1].end
        if each.start <= end and each.end >= start and apart and len(found) < MOST_HOLES:
            found.append(each)
    return tuple(found)


# -- blanks -------------------------------------------------------------------------------------


def _blanks(snapshot: Snapshot) -> Iterator[Marked]:
    for match in _BLANK.finditer(snapshot.text):
        if not _is_text(snapshot, match.start()):
            yield Marked(match.start(), match.end(), Mark.BLANK)


def _is_text(snapshot: Snapshot, at: int) -> bool:
    """Whether underscores at an offset are part of a string, a comment or a ruled line."""
    inner, shift = injections.inner(snapshot, at)
    if inner.language.name == "markdown":
        line = inner.parsed.lines.line(at - shift)
        return not inner.parsed.line_text(line).strip(" \t_")
    return _opaque_from(inner, at - shift) is not None


def _opaque_from(snapshot: Snapshot, at: int) -> int | None:
    """Where the string or comment starts that holds an offset; ``None`` for code."""
    excerpt = snapshot.parsed.excerpt(at)
    parsed, tree = excerpt.parsed, excerpt.parsed.tree
    if tree is not None and tree.root_node.has_error:
        # Where a blank is no name, a parser may lose its way: something of its length stands in.
        filler = snapshot.language.placeholder
        plain = _BLANK.sub(lambda blank: filler.ljust(len(blank[0])), parsed.text)
        parsed = ParsedText(plain, parsed.grammar)
        tree = parsed.tree
    if tree is None:
        return None
    found = None
    for node in path_to(tree, parsed.byte_at(excerpt.offset)):
        if node.type in snapshot.language.opaque_nodes:
            found = parsed.offset_of_byte(node.start_byte) - excerpt.offset + at
        elif node.type in _INSIDE_STRINGS:
            found = None
    return found


# -- comments -----------------------------------------------------------------------------------


def _todos(snapshot: Snapshot) -> Iterator[Marked]:
    if "TODO" not in snapshot.text.upper():
        return
    for match in re.finditer(r"TODO(?:\([^)\r\n]*\))?:", snapshot.text, re.IGNORECASE):
        inner, shift = injections.inner(snapshot, match.start())
        line = inner.parsed.lines.line(match.start() - shift)
        found = _missing_body(inner, line)
        if found is not None:
            yield Marked(found.start + shift, found.end + shift, found.mark, found.lead, found.tail)


def _missing_body(snapshot: Snapshot, line: int) -> Marked | None:
    """The hole that a comment on a line asks to fill, when that is what it does."""
    parsed, language = snapshot.parsed, snapshot.language
    comment = parsed.line_text(line)
    found = _comment(language).match(comment)
    if found is None or found["todo"] is None:
        return None
    mark_at = parsed.lines.start(line) + len(found["indent"])
    opaque = _opaque_from(snapshot, mark_at)
    if opaque is not None and opaque < mark_at:
        return None  # it only looks like a comment: it stands in a string
    last, below = line, line + 1
    while below < parsed.lines.count:
        text = parsed.line_text(below)
        if _comment(language).match(text) and indent_width(text) == indent_width(comment):
            last = below
        elif text.strip():
            break
        below += 1
    if below < parsed.lines.count:
        return _placeholder_below(snapshot, comment, last, below)
    return _new_body(snapshot, comment, last)


def _placeholder_below(snapshot: Snapshot, comment: str, last: int, below: int) -> Marked | None:
    """The placeholder in the first line of code under a comment, or where that line should be."""
    parsed, language = snapshot.parsed, snapshot.language
    text = parsed.line_text(below)
    width = indent_width(comment)
    closes = bool(language.block_closer) and text.strip().startswith(language.block_closer)
    if indent_width(text) < width or (closes and indent_width(text) <= width):
        return _new_body(snapshot, comment, last)
    if indent_width(text) > width:
        return None
    if _is_placeholder(text):
        return _whole_line(snapshot, below)
    head = _head(snapshot, below)
    return None if head is None else _hollow_body(snapshot, head)


def _head(snapshot: Snapshot, first: int) -> int | None:
    """The last line of the head of a block that starts on a line."""
    parsed, language = snapshot.parsed, snapshot.language
    said = ""
    for line in range(first, min(parsed.lines.count, first + _HEAD_LINES)):
        text = parsed.line_text(line)
        said += text + "\n"
        body = _SHORT_BODY.search(text) if language.block is BlockRule.INDENT else None
        braces = _short_braces(text) if language.block is BlockRule.BRACES else None
        if opens_block(text, language) or body or braces:
            return line
        if not balance(said, language).unclosed and not _brace_follows(snapshot, line):
            return None
    return None


def _brace_follows(snapshot: Snapshot, line: int) -> bool:
    """Whether the next line opens the block of this one, as some styles have it."""
    parsed = snapshot.parsed
    below = parsed.line_text(line + 1) if line + 1 < parsed.lines.count else ""
    return snapshot.language.block is BlockRule.BRACES and below.strip().startswith("{")


def _hollow_body(snapshot: Snapshot, head: int) -> Marked | None:
    """The body under a head, when it is empty or only a placeholder."""
    parsed, language = snapshot.parsed, snapshot.language
    text, start = parsed.line_text(head), parsed.lines.start(head)
    outer = leading_blanks(text)
    newline, unit = newline_of(snapshot.text), _unit(snapshot)
    if language.block is BlockRule.INDENT and (found := _SHORT_BODY.search(text)):
        # What stands behind the colon moves to a line of its own.
        return Marked(
            start + found.start() + 1, start + found.end(), Mark.TODO, newline + outer + unit
        )
    if language.block is BlockRule.BRACES and (found := _short_braces(text)):
        low, high = found.span("inside")
        return Marked(start + low, start + high, Mark.TODO, newline + outer + unit, newline + outer)
    body = _next_line(snapshot, head + 1)
    if body is None:
        return None
    inside = parsed.line_text(body)
    if language.block is BlockRule.BRACES and inside.strip().startswith("}"):
        end = parsed.lines.start(body) + len(leading_blanks(inside))
        opener = start + text.rfind("{") + 1
        if "{" not in text or snapshot.text[opener:end].strip():
            return None
        return Marked(opener, end, Mark.TODO, newline + outer + unit, newline + outer)
    after = _next_line(snapshot, body + 1)
    deeper = indent_width(inside) > indent_width(text)
    alone = (
        after is None
        or indent_width(parsed.line_text(after)) < indent_width(inside)
        or parsed.line_text(after).strip().startswith(language.block_closer or "\0")
    )
    return _whole_line(snapshot, body) if deeper and alone and _is_placeholder(inside) else None


def _whole_line(snapshot: Snapshot, line: int) -> Marked:
    """The text of a line without the blanks around it."""
    text, start = snapshot.parsed.line_text(line), snapshot.parsed.lines.start(line)
    return Marked(start + len(leading_blanks(text)), start + len(text.rstrip()), Mark.TODO)


def _new_body(snapshot: Snapshot, comment: str, last: int) -> Marked:
    """A new line under a comment that ends its block."""
    end = snapshot.parsed.line_span(last)[1]
    lead = newline_of(snapshot.text) + leading_blanks(comment)
    return Marked(end, end, Mark.TODO, lead)


def _is_placeholder(text: str) -> bool:
    return _PLACEHOLDER.fullmatch(" ".join(text.split())) is not None


def _short_braces(text: str) -> re.Match[str] | None:
    """Braces at the end of a line that hold nothing, or only a placeholder."""
    found = _SHORT_BRACES.search(text)
    inside = "" if found is None else found["inside"].strip()
    return found if not inside or _is_placeholder(inside) else None


def _next_line(snapshot: Snapshot, first: int) -> int | None:
    """The first line with text on it, from a line on."""
    parsed = snapshot.parsed
    for line in range(first, min(parsed.lines.count, first + _HEAD_LINES)):
        if parsed.line_text(line).strip():
            return line
    return None


def _unit(snapshot: Snapshot) -> str:
    """What one level is indented by: what stands under the first line that opens a block."""
    parsed = snapshot.parsed
    for line in range(min(parsed.lines.count - 1, _UNIT_LINES)):
        head, body = parsed.line_text(line), parsed.line_text(line + 1)
        deeper = leading_blanks(body).removeprefix(leading_blanks(head))
        inside = body.strip() and indent_width(body) > indent_width(head)
        if inside and opens_block(head, snapshot.language):
            return deeper
    return " " * 4


@functools.cache
def _comment(language: Language) -> re.Pattern[str]:
    """Finds a line that is a comment and nothing else."""
    marks = [mark for mark in (language.line_comment,) if mark]
    marks += ["//", "#"] if language.name == "php" else []
    marks += ["#"] if not marks and language.grammar is None else []
    starts = [rf"(?:{re.escape(mark)})+[/!]*" for mark in marks]
    if language.block_comment is not None:
        open_, close = (re.escape(each) for each in language.block_comment)
        starts.append(rf"{open_}\**(?=.*{close}[ \t]*\Z)")
    if not starts:
        starts.append(r"(?!)")
    words = r"(?P<todo>TODO(?:\([^)]*\))?:)?"
    return re.compile(
        rf"(?P<indent>[ \t]*)(?:{'|'.join(starts)})[ \t]*{words}.*", re.IGNORECASE | re.DOTALL
    )
