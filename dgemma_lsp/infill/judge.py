"""What a text adds that is wrong, found in its place in the document.

The one way to count and to place faults: fills, rewrites and repairs all ask here. Only what the
text adds counts, so that broken files still get help. The document's own tree stays untouched;
every draft is a throw-away edit of an excerpt. What to do about a fault is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dgemma_lsp.infill import checks, checks_tree, formats
from dgemma_lsp.infill.checks_tree import Placed
from dgemma_lsp.infill.trim import Site, site_of
from dgemma_lsp.infill.types import Fault, FaultPlace, Hole, HoleKind, RejectReason, Snapshot
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.errors import (
    Splice,
    SyntaxFault,
    added_faults,
    find_errors,
    find_hollow,
)
from dgemma_lsp.syntax.scope import opens_block
from dgemma_lsp.syntax.tree import Excerpt, ParsedText

LONGEST_TEXT = 20_000
"""Characters of a text that can be judged; a canvas holds a small part of that."""

BUDGET_S = 0.4
"""Time after which no parse goes on and no further check is begun; hundreds of times the usual, so
that a machine under load does not turn good texts down."""

_NEAR_CHARS = 2_000
"""How far around a text brackets are matched where there is no grammar."""


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
    found = _syntax(snapshot, at, at, text, hole.kind, lambda: clock() <= until, _is_new_text(site))
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
    found = _syntax(snapshot, start, end, text, None, lambda: clock() <= until, new=False)
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


def errors_at(parsed: ParsedText, start: int, end: int, language: Language) -> int:
    """All errors of a text, and the bodies missing next to a range."""
    return len(_faults_of(parsed, language, start, end))


# -- syntax -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """Syntax faults, the counts they follow from, and the trees for further checks."""

    faults: tuple[Fault, ...]
    before: int
    after: int
    placed: Placed | None = None


def _syntax(
    snapshot: Snapshot,
    start: int,
    end: int,
    text: str,
    kind: HoleKind | None,
    go_on: Callable[[], bool],
    new: bool,
) -> _Found | None:
    """Count and compare; ``None`` when ``go_on`` ends it."""
    language = snapshot.language
    if snapshot.parsed.grammar is None:
        return _generic(snapshot, start, end, text, kind)
    excerpt = snapshot.parsed.excerpt(start, end)
    found = _compared(excerpt, end - start, text, language, go_on, new)
    if found is None or not found.faults or not _unbalanced(text, language):
        return found
    # The tree that the excerpt was cut by lacks what the text opens or closes.
    wide = snapshot.parsed.wide_excerpt(start, end)
    if len(wide.parsed.text) <= len(excerpt.parsed.text):
        return found
    return _compared(wide, end - start, text, language, go_on, new)


def _unbalanced(text: str, language: Language) -> bool:
    """Whether a text opens or closes more than it closes or opens, though nothing crosswise."""
    found = balance(text, language)
    if found.mismatches:
        return False
    if language.block is BlockRule.WORDS and opens_block(text, language):
        return True
    closes = language.block is BlockRule.WORDS and language.block_closer in text.split()
    return bool(found.unclosed or found.unopened) or closes


def _compared(
    excerpt: Excerpt,
    replaced: int,
    text: str,
    language: Language,
    go_on: Callable[[], bool],
    new: bool,
) -> _Found | None:
    """Compare an excerpt with and without the text in the place of ``replaced`` characters."""
    at, stop = excerpt.offset, excerpt.offset + replaced
    if not excerpt.parsed.parse_while(go_on):
        return None
    edited = excerpt.parsed.edited(at, stop, text)
    if not edited.parse_while(go_on):
        return None
    before = _faults_of(excerpt.parsed, language, at, stop)
    after = _faults_of(edited, language, at, at + len(text))
    splice = _splice(excerpt.parsed.text, at, stop, text)
    if new and 0 < len(after) <= len(before):
        # The empty hole is at fault itself, as in `if :`. A candidate that leaves more errors
        # than any name would is no help.
        name = language.placeholder
        named = excerpt.parsed.edited(at, at, name)
        if not named.parse_while(go_on):
            return None
        filled = _faults_of(named, language, at, at + len(name))
        if len(filled) < len(before) and _errors(filled) <= _errors(before):
            before, splice = filled, _splice(named.text, at, at + len(name), text)
    added = _added(before, after, splice)
    return _Found(
        tuple(_placed_fault(fault, at, len(text)) for fault in added),
        len(before),
        len(after),
        Placed(excerpt.parsed, edited, at, stop, at + len(text), language),
    )


def _added(
    before: tuple[SyntaxFault, ...], after: tuple[SyntaxFault, ...], splice: Splice
) -> tuple[SyntaxFault, ...]:
    """The new errors; without any, the new hollow bodies, which errors nearby may only seem.

    A body may be hollow where an error was, as behind the head of a loop that the text completes;
    an error is never made up for by a body that is not hollow any more.
    """
    errors = [fault for fault in after if not fault.hollow]
    added = added_faults([fault for fault in before if not fault.hollow], errors, splice)
    if added:
        return added
    hollow = [fault for fault in after if fault.hollow]
    grown = len(after) > len(before)
    return added_faults([f for f in before if f.hollow or not grown], hollow, splice)


def _errors(faults: tuple[SyntaxFault, ...]) -> int:
    return sum(not fault.hollow for fault in faults)


def _splice(old: str, start: int, end: int, text: str) -> Splice:
    """The splice of ``text`` into ``old``, with the lines that it touches."""
    low = old.rfind("\n", 0, start) + 1
    high = old.find("\n", end)
    return Splice(start, end, len(text), low, len(old) if high < 0 else high)


def _faults_of(
    parsed: ParsedText, language: Language, start: int, end: int
) -> tuple[SyntaxFault, ...]:
    """All errors of a text, and the bodies missing next to a range."""
    errors = find_errors(parsed)
    if language.hollow_node:
        errors += find_hollow(parsed, language.hollow_node, start, end)
    return errors


def _generic(snapshot: Snapshot, start: int, end: int, text: str, kind: HoleKind | None) -> _Found:
    """Brackets and quotes nearby, for lack of a grammar."""
    document = snapshot.text
    lines = snapshot.parsed.lines
    low = lines.start(lines.line(max(0, start - _NEAR_CHARS)))
    low = max(low, start - 2 * _NEAR_CHARS)
    line_end = snapshot.parsed.line_span(lines.line(end))[1]
    high = end + _NEAR_CHARS if kind is None else min(line_end, end + _NEAR_CHARS)
    head, tail = document[low:start], document[end : max(high, end)]
    open_counts = kind in (HoleKind.MID_LINE, None)
    old = head + document[start:end] + tail
    before = _surface_faults(old, snapshot.language, open_counts=open_counts)
    after = _surface_faults(head + text + tail, snapshot.language, open_counts=open_counts)
    at = start - low
    added = added_faults(before, after, _splice(old, at, end - low, text))
    faults = tuple(_placed_fault(fault, at, len(text)) for fault in added)
    return _Found(faults, len(before), len(after))


def _surface_faults(text: str, language: Language, *, open_counts: bool) -> tuple[SyntaxFault, ...]:
    """What does not match up, in order of place."""
    found = balance(text, language)
    wrong = [*found.unopened, *found.mismatches, *(found.unclosed if open_counts else ())]
    faults = [SyntaxFault(bracket.offset, bracket.offset + 1) for bracket in wrong]
    if found.open_string >= 0:
        faults.append(SyntaxFault(found.open_string, len(text)))
    return tuple(sorted(faults, key=lambda fault: fault.start))


def _placed_fault(fault: SyntaxFault, at: int, length: int) -> Fault:
    """A fault of the text around as one of the candidate that stands at ``at``."""
    start, end = fault.start - at, fault.end - at
    empty = start == end
    if end < 0 or (end == 0 and not empty):
        place = FaultPlace.BEFORE
    elif start > length or (start == length and not empty):
        place = FaultPlace.AFTER
    else:
        place = FaultPlace.INSIDE
    return Fault(
        RejectReason.ADDS_SYNTAX_ERROR,
        min(max(start, 0), length),
        min(max(end, 0), length),
        place,
        fault.missing,
        "The body is empty." if fault.hollow else "",
    )


# -- the other checks ---------------------------------------------------------------------------


def _after_syntax(
    snapshot: Snapshot, hole: Hole, text: str, site: Site, found: _Found
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


def _strings(found: _Found) -> tuple[Fault, ...]:
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
