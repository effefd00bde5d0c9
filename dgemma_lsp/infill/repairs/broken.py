"""Where a document is broken: the faults of a neighbourhood, and which of them a range touches.

A parser objects where it can go on no longer, which is often a line behind the mistake, and so a
person may well point at another place than the parser does. What to do about it is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

from dgemma_lsp.infill.repairs.delimiters import Unmatched, unmatched
from dgemma_lsp.infill.types import Declined, DeclineReason, Snapshot
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import SyntaxFault, find_errors
from dgemma_lsp.syntax.tree import ParsedText

_NEAR_CHARS = 10_000
"""How far around a place brackets are matched in a long text without a grammar."""


@dataclass(frozen=True, slots=True)
class View:
    """The neighbourhood of a place, which is all that is parsed of a long document.

    Attributes:
        parsed: An excerpt of the document.
        shift: What to add to an offset in the excerpt for one in the document.
        low: First offset of the excerpt for which that holds.
        high: Last offset for which it does.
        faults: What is wrong between them.
        brackets: Brackets without a partner in the excerpt.
    """

    parsed: ParsedText
    shift: int
    low: int
    high: int
    faults: tuple[SyntaxFault, ...]
    brackets: Unmatched


@dataclass(frozen=True, slots=True)
class Broken:
    """One place to mend: a fault, or what a person pointed at; offsets are the view's.

    ``first`` and ``last`` are the view's lines that were asked about.
    """

    view: View
    fault: SyntaxFault
    first: int
    last: int


def view_at(snapshot: Snapshot, offset: int) -> View:
    """Parse the neighbourhood of an offset and find what is wrong in it."""
    whole = snapshot.parsed
    if whole.grammar is None and len(whole.text) > 2 * _NEAR_CHARS:
        low = whole.lines.start(whole.lines.line(max(0, offset - _NEAR_CHARS)))
        parsed = ParsedText(whole.text[low : offset + _NEAR_CHARS])
        shift, first, last = low, 0, len(parsed.text)
    else:
        excerpt = whole.excerpt(offset)
        parsed, shift = excerpt.parsed, offset - excerpt.offset
        first, last = _window(whole.text, offset, parsed.text, excerpt.offset)
    found = tuple(
        fault
        for fault in _faults(parsed, snapshot.language)
        if first <= fault.start and fault.end <= last
    )
    return View(parsed, shift, first, last, found, unmatched(parsed.text, snapshot.language))


def _window(text: str, offset: int, part: str, at: int) -> tuple[int, int]:
    """How far an excerpt says what the document says, seen from a place that both have."""
    if len(text) == len(part):
        return 0, len(part)
    low, high = at, at
    while low > 0 and offset - (at - low) > 0 and part[low - 1] == text[offset - (at - low) - 1]:
        low -= 1
    more = text[offset : offset + len(part) - at]
    while high - at < len(more) and part[high] == more[high - at]:
        high += 1
    return low, high


def _faults(parsed: ParsedText, language: Language) -> tuple[SyntaxFault, ...]:
    if parsed.grammar is not None:
        return find_errors(parsed, language.fault_nodes)
    found = unmatched(parsed.text, language)
    places = [each.offset for each in (*found.unclosed, *found.stray)]
    opened = balance(parsed.text, language).open_string
    if opened >= 0:
        places.append(opened)
    return tuple(SyntaxFault(at, at + 1) for at in sorted(places))


def find_broken(snapshot: Snapshot, start: int, end: int) -> tuple[Broken, ...] | Declined:
    """The faults that a range touches, the nearest first.

    A fault is touched on every line it lies on. So it is on the line before where it heads its
    line, and on the line of a bracket left open before it: that is where such faults come from.
    Where the range touches none but has text, and something is broken nearby, the range itself is
    taken: another checker may place the same error elsewhere.
    """
    start, end = min(start, end), max(start, end)
    view = view_at(snapshot, start)
    low, high = start - view.shift, min(end - view.shift, view.high)
    asked = view.parsed.lines.line(low), view.parsed.lines.line(high)
    touched = [
        (rank, fault.start, fault)
        for fault in view.faults
        if (rank := _touches(view, fault, low, high)) is not None
    ]
    if touched:
        touched.sort(key=lambda each: each[:2])
        return tuple(Broken(view, fault, *asked) for _, _, fault in touched)
    if view.faults and view.parsed.text[low:high].strip():
        return (Broken(view, SyntaxFault(low, high), *asked),)
    return Declined(
        DeclineReason.NOTHING_BROKEN,
        "There is a syntax error nearby, but not here."
        if view.faults
        else "There is no syntax error here.",
    )


def fault_ranges(snapshot: Snapshot) -> tuple[tuple[int, int], ...]:
    """Every fault of a whole document, in order of place; parses all of it."""
    found = _faults(snapshot.parsed, snapshot.language)
    return tuple((fault.start, fault.end) for fault in found)


def is_broken(snapshot: Snapshot, start: int, end: int) -> bool:
    """Whether a range touches a fault; asks no model."""
    view = view_at(snapshot, min(start, end))
    low, high = sorted((start - view.shift, end - view.shift))
    return any(_touches(view, fault, low, high) is not None for fault in view.faults)


def _touches(view: View, fault: SyntaxFault, low: int, high: int) -> int | None:
    """How directly a range touches a fault, 0 being the most; ``None`` when it does not."""
    if fault.start <= high and low <= fault.end:
        return 0
    lines = view.parsed.lines
    first, last = lines.line(low), lines.line(high)
    if last > first and high == lines.start(last):
        last -= 1  # whole lines are selected up to the start of the next one
    if lines.line(fault.start) <= last and first <= lines.line(fault.end):
        return 1
    causes = {lines.line(at) for at in _causes(view, fault)}
    return 2 if any(first <= line <= last for line in causes) else None


def _causes(view: View, fault: SyntaxFault) -> list[int]:
    """Places before a fault that it may come from."""
    text = view.parsed.text
    found = [left.offset for left in view.brackets.unclosed if left.offset < fault.start][-1:]
    line = view.parsed.lines.start(view.parsed.lines.line(fault.start))
    before = text[: fault.start].rstrip()
    if before and not text[line : fault.start].strip():
        found.append(len(before) - 1)
    return found
