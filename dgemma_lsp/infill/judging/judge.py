"""What a text adds that is wrong, found in its place in the document.

The one way to count and to place faults: fills, rewrites and repairs all ask here. Only what the
text adds counts, so that broken files still get help. The document's own tree stays untouched;
every draft is a throw-away edit of an excerpt. What to do about a fault is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dgemma_lsp.infill.judging import checks, checks_tree, formats
from dgemma_lsp.infill.judging.judge_syntax import Found, syntax_faults
from dgemma_lsp.infill.trim import Site, site_of
from dgemma_lsp.infill.types import Fault, FaultPlace, Hole, RejectReason, Snapshot

LONGEST_TEXT = 20_000
"""Characters of a text that can be judged; a canvas holds a small part of that."""

BUDGET_S = 0.4
"""Time after which no parse goes on and no further check is begun; hundreds of times the usual, so
that a machine under load does not turn good texts down."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found.

    Attributes:
        faults: Everything the text adds, in order of place; empty when it is sound.
        errors_before: Syntax errors around the place without the text.
        errors_after: The same with it.
        parser: Name of the grammar, or ``None`` when only brackets and quotes were matched.
        complete: Every check was run. What could not be parsed in time is a fault; the other
            checks are left out when the time is up.
    """

    faults: tuple[Fault, ...]
    errors_before: int
    errors_after: int
    parser: str | None
    complete: bool = True


def judge(
    snapshot: Snapshot, hole: Hole, text: str, *, clock: Callable[[], float] = time.perf_counter
) -> Judgement:
    """Judge a text for a hole."""
    parser = _parser(snapshot)
    if empty := checks.blank(text):
        return Judgement(empty, 0, 0, parser)
    if len(text) > LONGEST_TEXT:
        return Judgement((_too_long(text),), 0, 0, parser, complete=False)
    at = hole.offset
    snapshot.parsed.excerpt(at)  # a document that nobody has parsed yet is not the text's fault
    until = clock() + BUDGET_S
    site = site_of(snapshot, hole)
    found = syntax_faults(
        snapshot, at, at, text, hole.kind, lambda: clock() <= until, _is_new_text(site)
    )
    if found is None:
        return Judgement((_too_late(text),), 0, 0, parser, complete=False)
    faults = list(found.faults)
    complete = True
    for check in _after_syntax(snapshot, hole, text, site, found):
        if clock() > until:
            complete = False
            break
        faults.extend(check())
    return Judgement(_in_order(faults), found.before, found.after, parser, complete)


def judge_edit(
    snapshot: Snapshot,
    start: int,
    end: int,
    text: str,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Judgement:
    """Judge a text in the place of the document's characters ``start`` to ``end``.

    Syntax, hollow bodies and strings only: whether it says what it should is for the caller.
    """
    parser = _parser(snapshot)
    if len(text) > LONGEST_TEXT or end - start > LONGEST_TEXT:
        return Judgement((_too_long(text),), 0, 0, parser, complete=False)
    snapshot.parsed.excerpt(start, end)
    until = clock() + BUDGET_S
    found = syntax_faults(snapshot, start, end, text, None, lambda: clock() <= until, new=False)
    if found is None:
        return Judgement((_too_late(text),), 0, 0, parser, complete=False)
    faults = list(found.faults)
    complete = clock() <= until
    if complete:
        faults.extend(_strings(found))
    return Judgement(_in_order(faults), found.before, found.after, parser, complete)


_TELLING = (
    RejectReason.EMPTY,
    RejectReason.REPEATS_LINE,
    RejectReason.REPEATS_ITSELF,
    RejectReason.ADDS_SYNTAX_ERROR,
)


def main_reason(faults: tuple[Fault, ...]) -> RejectReason | None:
    """The reason of the most telling fault; ``None`` when there is none."""
    for reason in _TELLING:
        if any(fault.reason is reason for fault in faults):
            return reason
    return faults[0].reason if faults else None


# -- the other checks ---------------------------------------------------------------------------


def _after_syntax(
    snapshot: Snapshot, hole: Hole, text: str, site: Site, found: Found
) -> Iterator[Callable[[], tuple[Fault, ...]]]:
    """The checks of a text for a hole, cheap ones first."""
    yield lambda: checks.repeats_line(text, site)
    yield lambda: checks.repeats_lines(text, site)
    yield lambda: checks.repeats_itself(text, site)
    yield lambda: checks.stutters(text, site)
    yield lambda: checks.runs_into_word(text, site)
    yield lambda: checks.mixes_tabs(text, site)
    placed = found.placed
    if found.faults:
        yield lambda: checks.says_closers_again(text, site)
    elif placed is not None:
        yield lambda: checks_tree.wrong_indent(placed)
    if placed is not None:
        yield lambda: _strings(found)
    yield lambda: formats.faults(snapshot, hole.offset, text)


def _strings(found: Found) -> tuple[Fault, ...]:
    """What the text does to strings and comments, unless it is what the place was waiting for."""
    placed = found.placed
    if placed is None or found.after < found.before:
        return ()
    return checks_tree.opens_string(placed) or checks_tree.leaves_string(placed)


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    places = {FaultPlace.BEFORE: 0, FaultPlace.INSIDE: 1, FaultPlace.AFTER: 2}
    return tuple(sorted(faults, key=lambda f: (places[f.place], f.start, f.end)))


def _too_long(text: str) -> Fault:
    message = f"Only {LONGEST_TEXT} characters can be judged."
    return Fault(RejectReason.UNSURE, 0, len(text), message=message)


def _too_late(text: str) -> Fault:
    return Fault(RejectReason.UNSURE, 0, len(text), message="It could not be parsed in time.")


def _is_new_text(site: Site) -> bool:
    """Whether a name would stand alone in the hole instead of growing into a neighbour."""
    around = site.before[-1:], site.tail[:1]
    return not any(char.isalnum() for char in around)


def _parser(snapshot: Snapshot) -> str | None:
    grammar = snapshot.parsed.grammar
    return None if grammar is None else grammar.name
