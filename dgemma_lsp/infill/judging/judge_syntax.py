"""Which syntax errors a text adds in its place, by comparing the place with and without it.

Without a grammar, and where the parser is lost, brackets and quotes are matched instead. Offsets
of the faults returned count in the text. What else could be wrong with a text is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dgemma_lsp.infill.judging.checks_tree import Placed
from dgemma_lsp.infill.types import Fault, FaultPlace, HoleKind, RejectReason, Snapshot
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.brackets import Bracket, balance
from dgemma_lsp.syntax.errors import (
    Splice,
    SyntaxFault,
    added_faults,
    find_errors,
    find_hollow,
    lost_between,
    past_blanks,
)
from dgemma_lsp.syntax.scope import indent_width, opens_block
from dgemma_lsp.syntax.tree import Excerpt, ParsedText

_NEAR_CHARS = 2_000
"""How far around a text brackets are matched where there is no grammar."""


@dataclass(frozen=True, slots=True)
class Found:
    """Syntax faults, the counts they follow from, and the trees for further checks.

    ``before`` counts what remains with the best filler where the empty hole was at fault itself.
    """

    faults: tuple[Fault, ...]
    before: int
    after: int
    placed: Placed | None = None


def syntax_faults(
    snapshot: Snapshot,
    start: int,
    end: int,
    text: str,
    kind: HoleKind | None,
    go_on: Callable[[], bool],
    new: bool,
) -> Found | None:
    """The faults that ``text`` adds in the place of ``start`` to ``end``.

    ``new`` says that the text does not grow into a neighbour. ``None`` when ``go_on`` ends it.
    """
    language = snapshot.language
    if snapshot.parsed.grammar is None:
        return _generic(snapshot, start, end, text, kind)
    excerpt = snapshot.parsed.excerpt(start, end)
    found = _compared(excerpt, end - start, text, language, go_on, new, hole=kind is not None)
    if found is None or not found.faults or not _unbalanced(text, language):
        return found
    # The tree that the excerpt was cut by lacks what the text opens or closes.
    wide = snapshot.parsed.wide_excerpt(start, end)
    if len(wide.parsed.text) <= len(excerpt.parsed.text):
        return found
    return _compared(wide, end - start, text, language, go_on, new, hole=kind is not None)


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
    *,
    hole: bool,
) -> Found | None:
    """Compare an excerpt with and without the text in the place of ``replaced`` characters."""
    at, stop = excerpt.offset, excerpt.offset + replaced
    if not excerpt.parsed.parse_while(go_on):
        return None
    edited = excerpt.parsed.edited(at, stop, text)
    if not edited.parse_while(go_on):
        return None
    before = faults_of(excerpt.parsed, language, at, stop)
    after = faults_of(edited, language, at, at + len(text))
    splice = _splice(excerpt.parsed.text, at, stop, text)
    known, known_splice = before, splice
    if new and 0 < len(after) <= len(before):
        filled = _filled(excerpt, before, text, language, go_on)
        if filled is None:
            return None
        known, known_splice = filled
    added = _added(known, after, known_splice)
    placed = Placed(excerpt.parsed, edited, at, stop, at + len(text), language)
    lost = lost_between(excerpt.parsed, splice.low, at, stop)
    # What the text itself makes the parser lose its way is never forgiven.
    if lost or (after and not added and lost_between(edited, splice.low, at, at + len(text))):
        looked = _where_lost(added, placed, splice, go_on)
        if looked is None:
            return None
        added = looked
    elif hole:
        added = _with_own(added, after, placed)
    if hole and after and not added:
        added = _unmatched(placed)
    return Found(
        tuple(_placed_fault(fault, at, len(text)) for fault in added),
        len(known),
        len(after),
        placed,
    )


def _with_own(
    added: tuple[SyntaxFault, ...], after: tuple[SyntaxFault, ...], placed: Placed
) -> tuple[SyntaxFault, ...]:
    """The added errors, and those that begin in the text or behind it on its line.

    An error there that the document had as well is the empty hole's own: to mend it is what the
    text is for. Errors before the hole, or on other lines, are not held against it, nor is a block
    that is opened at the end to be typed into.
    """
    text, closer = placed.after.text, placed.language.block_closer
    high = text.find("\n", placed.end)
    high = len(text) if high < 0 else high
    own = [
        each
        for each in after
        if not each.hollow
        and placed.start <= each.start <= high
        and not (closer and each.missing == closer)
    ]
    return tuple(sorted({*added, *own}, key=lambda each: (each.start, each.end)))


def _unmatched(placed: Placed) -> tuple[SyntaxFault, ...]:
    """Brackets of the text without a partner, and what stands behind it waiting to be opened.

    A closing bracket that heads its line, indented as the hole's line is, with nothing but deeper
    lines in between, closes what the text has to open.
    """
    text, language = placed.after.text, placed.language
    found = balance(text, language)
    wrong = [*found.unopened, *found.mismatches, *found.unclosed]
    inside = [
        SyntaxFault(each.offset, each.offset + 1)
        for each in wrong
        if placed.start <= each.offset < placed.end and not _opens_block_to_type_into(each, placed)
    ]
    openers = {close: open_ for open_, close in language.brackets}
    waiting = next((each for each in found.unopened if each.offset >= placed.end), None)
    if waiting is not None and _belongs_to_line(text, waiting.offset, placed.start, placed.end):
        opener = openers[waiting.char]
        inside.append(SyntaxFault(placed.end, placed.end, opener))
    return tuple(sorted(inside, key=lambda each: each.start))


def _opens_block_to_type_into(bracket: Bracket, placed: Placed) -> bool:
    rest = placed.after.text[bracket.offset + 1 : placed.end]
    closer = dict(placed.language.brackets).get(bracket.char)
    return not rest.strip() and closer == placed.language.block_closer


def _belongs_to_line(text: str, closer: int, start: int, end: int) -> bool:
    """Whether a closing bracket heads a line that ends what the line of ``start`` begins."""
    line = text.rfind("\n", 0, closer) + 1
    if text[line:closer].strip() or line <= end:
        return False
    width = indent_width(text[text.rfind("\n", 0, start) + 1 : start])
    between = [each for each in text[end:line].split("\n")[1:] if each.strip()]
    return indent_width(text[line:closer]) == width and all(
        indent_width(each) > width for each in between
    )


def _filled(
    excerpt: Excerpt,
    before: tuple[SyntaxFault, ...],
    text: str,
    language: Language,
    go_on: Callable[[], bool],
) -> tuple[tuple[SyntaxFault, ...], Splice] | None:
    """The faults that remain with the best of a few simple texts in the hole, and the splice.

    The empty hole may be at fault itself, as in ``if :``. A candidate that leaves more faults than
    any name, or any ended statement, would is no help. ``None`` when ``go_on`` ends it.
    """
    at = excerpt.offset
    fewest, splice = before, _splice(excerpt.parsed.text, at, at, text)
    if not any(_touches(fault, excerpt.parsed.text, splice) for fault in before):
        return fewest, splice
    for filler in (language.placeholder, *language.fillers):
        named = excerpt.parsed.edited(at, at, filler)
        if not named.parse_while(go_on):
            return None
        filled = faults_of(named, language, at, at + len(filler))
        if len(filled) < len(fewest) and _errors(filled) <= _errors(before):
            fewest, splice = filled, _splice(named.text, at, at + len(filler), text)
        if not fewest:
            break
    return fewest, splice


def _touches(fault: SyntaxFault, text: str, splice: Splice) -> bool:
    """Whether a fault may be about the lines of a splice: a parser often sees one a line late."""
    low, high = past_blanks(text, splice.low, -1), past_blanks(text, splice.high, 1)
    line_end = text.find("\n", high)
    return fault.end >= low and fault.start <= (len(text) if line_end < 0 else line_end)


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


def faults_of(
    parsed: ParsedText, language: Language, start: int, end: int
) -> tuple[SyntaxFault, ...]:
    """All errors of a text, and the bodies missing next to a range."""
    errors = find_errors(parsed, language.fault_nodes)
    if language.hollow_node:
        errors += find_hollow(parsed, language.hollow_node, start, end)
    return errors


def _where_lost(
    added: tuple[SyntaxFault, ...], placed: Placed, splice: Splice, go_on: Callable[[], bool]
) -> tuple[SyntaxFault, ...] | None:
    """Look again where the parser lost its way on an earlier line; ``None`` when ``go_on`` ends it.

    There it splits and joins its errors as it happens. Brackets and quotes are matched as well,
    with the text and without; where the two disagree, the lines of the text are parsed alone, and
    if they are sound so is the text.
    """
    language = placed.language
    wrong = _surface_faults(placed.after.text, language, open_counts=True)
    worse = len(wrong) > len(_surface_faults(placed.before.text, language, open_counts=True))
    if worse == bool(added):
        return added
    sound = _sound_alone(placed, splice, go_on)
    if sound is None:
        return None
    if sound or added:
        return () if sound else added
    text = placed.after.text[placed.start : placed.end]
    own = _surface_faults(text, language, open_counts=True)
    start = placed.start
    moved = tuple(SyntaxFault(start + each.start, start + each.end) for each in own)
    return moved or (SyntaxFault(start, placed.end),)


def _sound_alone(placed: Placed, splice: Splice, go_on: Callable[[], bool]) -> bool | None:
    """Whether the lines of a text have no fault as a text of their own."""
    grown = splice.length - (splice.end - splice.start)
    # The line break belongs to it: statements of some languages end with it.
    lines = ParsedText(
        placed.after.text[splice.low : splice.high + grown + 1], placed.after.grammar
    )
    if not lines.parse_while(go_on):
        return None
    tree = lines.tree
    if tree is None or faults_of(lines, placed.language, 0, len(lines.text)):
        return False
    # What is only text to the grammar, as PHP is without its tag, cannot be wrong.
    return any(
        child.type not in placed.language.opaque_nodes for child in tree.root_node.named_children
    )


def _generic(snapshot: Snapshot, start: int, end: int, text: str, kind: HoleKind | None) -> Found:
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
    return Found(faults, len(before), len(after))


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
