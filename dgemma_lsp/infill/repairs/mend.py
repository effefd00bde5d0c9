"""A mend without the model: what is replaced, the canvas of it, and what counts as mended.

A mend replaces the smallest broken region of the user's own text and leaves everything else as it
is. The region starts at what the parser objects to and widens when that did not help: tokens, the
line, the statement or its neighbouring lines. What may mend it must leave fewer errors than there
were, none where there was none, and not simply do away with the user's code. Offsets and strings
only; ``mending`` asks the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tree_sitter import Node

from dgemma_lsp.infill.blocks import RewriteLimits
from dgemma_lsp.infill.capture import around, budget_for
from dgemma_lsp.infill.graphemes import is_border
from dgemma_lsp.infill.judging.judge import judge_edit
from dgemma_lsp.infill.repairs.broken import Broken, View
from dgemma_lsp.infill.repairs.delimiters import changes
from dgemma_lsp.infill.segments import Canvas, Known, Span
from dgemma_lsp.infill.trim import site_of, trim
from dgemma_lsp.infill.types import (
    Candidate,
    Edit,
    FaultPlace,
    Hole,
    HoleKind,
    RejectReason,
    Selection,
    Snapshot,
    Verdict,
)
from dgemma_lsp.syntax.errors import SyntaxFault
from dgemma_lsp.syntax.tree import ParsedText

MAX_ROUNDS = 3
"""Regions that a model is asked about, each wider than the one before."""

_MAX_TRIES = 32
"""Changes of a delimiter that are tried; each costs a parse of the excerpt."""

_LENGTH_SLACK, _MORE_TOKENS = 1.25, 6
"""Positions of a span beyond the tokens that stood there: a share, and what is missing."""

_KEPT_WORDS, _KEPT_LENGTH = 2 / 3, 1 / 2
"""Shares of the region's words, and of its length, that a mend must keep."""

_ALIKE = 0.6
"""Similarity from which a word counts as the old one, spelled otherwise."""

_MOST_PARTS = 12
"""Parts of a mend that are tried without; each costs a parse of the excerpt."""

_MOST_GAPS = 8
"""Gaps in which a name is tried."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEXEME = re.compile(r"\w+|\s+|[^\w\s]")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"\w+")


class How(StrEnum):
    """What mended a region."""

    INSERTION = "insertion"
    """A missing delimiter was put in; no model was asked."""
    DELETION = "deletion"
    """A stray delimiter was taken out; no model was asked."""
    MODEL = "model"
    """The region was denoised anew."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the errors around it.

    ``spoils`` when it adds one outside of itself, or makes code part of a string.
    """

    before: int
    after: int
    spoils: bool

    @property
    def helps(self) -> bool:
        """Whether the change is a mend as far as the parser can tell."""
        return self.after < self.before and not self.spoils


@dataclass(frozen=True, slots=True)
class Repaired:
    """A mend: the edit, what made it, and the errors of the neighbourhood without and with it."""

    edit: Edit
    how: How
    effect: Effect


# -- what counts ----------------------------------------------------------------------------------


def effect_of(snapshot: Snapshot, start: int, end: int, text: str) -> Effect:
    """Judge a text in the place of the document's characters ``start`` to ``end``."""
    found = judge_edit(snapshot, start, end, text)
    spoils = any(
        fault.place is not FaultPlace.INSIDE or fault.reason is not RejectReason.ADDS_SYNTAX_ERROR
        for fault in found.faults
    )
    return Effect(found.errors_before, found.errors_after, spoils or not found.complete)


def keeps_code(old: str, new: str) -> bool:
    """Whether a text still says what the one it replaces said, as far as words tell.

    Two thirds of the old words must be there, in any order, a name spelled much alike counting as
    there; and the text may not be shorter than half. Where there was no word, the old marks must
    be there in their order, or there may be no word now.
    """
    words, left = _WORD.findall(old), _WORD.findall(new)
    if not words:
        marks = iter("".join(new.split()))
        return not left or all(mark in marks for mark in "".join(old.split()))
    kept = 0
    for word in words:
        here = word if word in left else next((each for each in left if _alike(word, each)), None)
        if here is not None:
            left.remove(here)
            kept += 1
    shorter = len("".join(new.split())) < _KEPT_LENGTH * len("".join(old.split()))
    return kept >= _KEPT_WORDS * len(words) and not shorter


def _alike(one: str, other: str) -> bool:
    if one[0].isdigit() or other[0].isdigit():
        return False  # another number is another number, however it is written
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE


# -- without a model ------------------------------------------------------------------------------


def repair_plainly(snapshot: Snapshot, broken: Broken) -> Repaired | None:
    """Put in a missing delimiter or take out a stray one, where the parser then objects less.

    Of several ways one on the lines that were asked about is taken, then the one that leaves the
    fewest errors, then the most plausible one.
    """
    view, language = broken.view, snapshot.language
    guesses = changes(view.parsed.text, broken.fault, view.brackets, language)
    lines = view.parsed.lines
    best: tuple[tuple[bool, int, int], Effect] | None = None
    for at, guess in enumerate(guesses[:_MAX_TRIES]):
        if not view.low <= guess.start <= guess.end <= view.high:
            continue
        start, end = guess.start + view.shift, guess.end + view.shift
        effect = effect_of(snapshot, start, end, guess.text)
        far = not broken.first <= lines.line(guess.start) <= broken.last
        rank = (far, effect.after, at)
        if effect.helps and (best is None or rank < best[0]):
            best = rank, effect
            if not far and effect.after == 0:
                break
    if best is None:
        return None
    (_, _, at), effect = best
    change = guesses[at]
    edit = Edit(change.start + view.shift, change.end + view.shift, change.text, snapshot.version)
    return Repaired(edit, How.INSERTION if change.text else How.DELETION, effect)


# -- with one -------------------------------------------------------------------------------------


def regions(snapshot: Snapshot, broken: Broken, limits: RewriteLimits) -> tuple[Selection, ...]:
    """What to denoise anew, round by round: ever wider parts of the document, none too long.

    A gap where something is missing; tokens the parser objects to; the line, from the one of a
    bracket left open; the statement, or the lines around where no statement can be made out.
    """
    view, fault = broken.view, broken.fault
    parsed, lines = view.parsed, view.parsed.lines
    first, last = lines.line(fault.start), lines.line(max(fault.start, fault.end - 1))
    opened = [left.offset for left in view.brackets.unclosed if left.offset < fault.start]
    above = lines.line(opened[-1]) if opened else first
    wider = [
        _gap(snapshot, broken),
        _trimmed(parsed.text, fault.start, fault.end) if first == last else None,
        _of_lines(parsed, first, first),
        _of_lines(parsed, above, last),
        _statement(snapshot, view, fault),
        _of_lines(parsed, max(0, above - 1), min(lines.count - 1, last + 1)),
    ]
    found: list[Selection] = []
    for region in wider:
        if region is None or not view.low <= region[0] <= region[1] <= view.high:
            continue
        start, end = region
        here = Selection(start + view.shift, end + view.shift)
        tokens = (end - start) / limits.chars_per_token
        if here not in found and tokens <= limits.max_span_tokens:
            found.append(here)
    if len(found) > MAX_ROUNDS:
        widest = max(found, key=lambda each: each.end - each.start)
        found = [*found[: MAX_ROUNDS - 1], widest]
    return tuple(found)


def _gap(snapshot: Snapshot, broken: Broken) -> tuple[int, int] | None:
    """Where nothing need be replaced, since something is missing: any name there would do.

    Gaps between the tokens of the fault are tried, the last one first.
    """
    view, fault = broken.view, broken.fault
    part = view.parsed.text[fault.start : fault.end]
    borders = [fault.start + found.start() for found in _TOKEN.finditer(part)]
    for at in [fault.start + len(part.rstrip()), *reversed(borders)][:_MOST_GAPS]:
        name = f" {snapshot.language.placeholder} "
        if effect_of(snapshot, at + view.shift, at + view.shift, name).helps:
            return at, at
    return None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A range without the blanks at its ends."""
    part = text[start:end]
    if not part.strip():
        return start, start
    return end - len(part.lstrip()), start + len(part.rstrip())


def _of_lines(parsed: ParsedText, first: int, last: int) -> tuple[int, int] | None:
    """The text of some lines without the indentation of the first."""
    start, end = parsed.lines.start(first), parsed.line_span(last)[1]
    return _trimmed(parsed.text, start, end) if parsed.text[start:end].strip() else None


def _statement(snapshot: Snapshot, view: View, fault: SyntaxFault) -> tuple[int, int] | None:
    """The lines of the smallest item of a block that holds a fault."""
    parsed = view.parsed
    tree = parsed.tree
    if tree is None:
        return None
    low, high = parsed.byte_at(fault.start), parsed.byte_at(fault.end)
    node: Node | None = tree.root_node.descendant_for_byte_range(low, high)
    while node is not None and node.parent is not None:
        if node.parent.type in snapshot.language.block_nodes and not node.is_error:
            break
        node = node.parent
    if node is None or node.parent is None:
        return None
    start, end = parsed.offset_of_byte(node.start_byte), parsed.offset_of_byte(node.end_byte)
    end = start + len(parsed.text[start:end].rstrip())
    return _of_lines(parsed, parsed.lines.line(start), parsed.lines.line(end))


def lay_out(snapshot: Snapshot, region: Selection, limits: RewriteLimits) -> Canvas:
    """The canvas of a region: its own text blanked, what stands around it clamped."""
    old = snapshot.text[region.start : region.end]
    tokens = int(len(old) / limits.chars_per_token * _LENGTH_SLACK) + _MORE_TOKENS
    context = around(snapshot.parsed, region.start, region.end, budget_for(limits))
    lines = len(_NEWLINE.findall(old)) + 1
    span = Span(
        max_lines=1 if lines == 1 else lines + 1, tokens=min(tokens, limits.max_span_tokens)
    )
    prefix, suffix = (_NEWLINE.sub("\n", text) for text in (context.prefix, context.suffix))
    return Canvas(prefix, (span, Known(suffix)) if suffix else (span,))


def check(
    snapshot: Snapshot, broken: Broken, region: Selection, raw: str, *, ended: bool = True
) -> tuple[str, Verdict]:
    """Tidy a model's text for a region and judge it in its place.

    Returns:
        The text to put there, and the verdict on it.
    """
    view = broken.view
    start, end = region.start - view.shift, region.end - view.shift
    old = view.parsed.text[start:end]
    text, rules = _tidied(snapshot, view, start, end, raw)
    grammar = view.parsed.grammar
    parser = None if grammar is None else grammar.name
    if not text.strip() and _WORD.search(old):
        return text, Verdict(False, RejectReason.EMPTY, parser, trimmed=rules)
    if not ended:
        return text, Verdict(False, RejectReason.CUT_OFF, parser, trimmed=rules)
    text = closest(snapshot, region, text)
    effect = effect_of(snapshot, region.start, region.end, text)
    reason = None
    if text == old:
        reason = RejectReason.UNCHANGED
    elif not keeps_code(old, text):
        reason = RejectReason.DROPS_CODE
    elif not effect.helps:
        reason = RejectReason.ADDS_SYNTAX_ERROR if effect.spoils else RejectReason.STILL_BROKEN
    return text, Verdict(reason is None, reason, parser, effect.before, effect.after, rules)


def _tidied(
    snapshot: Snapshot, view: View, start: int, end: int, raw: str
) -> tuple[str, tuple[str, ...]]:
    """Cut what stands behind the region anyway, as it is cut from a text for a hole."""
    parsed = view.parsed
    old = parsed.text[start:end]
    blanked = Snapshot(
        snapshot.uri, snapshot.version, parsed.edited(start, end, ""), snapshot.language
    )
    tail = parsed.text[end : parsed.line_span(parsed.lines.line(end))[1]]
    kind = HoleKind.MID_LINE if tail.strip() else HoleKind.LINE
    if _NEWLINE.search(old):
        kind = HoleKind.BLOCK
    trimmed = trim(raw, site_of(blanked, Hole(start, kind)))
    text = trimmed.text
    if start == 0 or parsed.text[start - 1].isspace():
        text = text.lstrip(" \t")
    return text, trimmed.rules


def closest(snapshot: Snapshot, region: Selection, text: str) -> str:
    """Put the user's own tokens back where the parser minds the new ones no less.

    A region is denoised as a whole, so that a model may change what was never wrong in it, and
    may say more than there is room for.
    """
    old = _LEXEME.findall(snapshot.text[region.start : region.end])
    new = _LEXEME.findall(text)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    parts = [("".join(old[i:j]), "".join(new[k:m])) for _, i, j, k, m in matcher.get_opcodes()]
    changed = [at for at, (was, now) in enumerate(parts) if was != now]
    if not 1 < len(changed) <= _MOST_PARTS:
        return text
    best = effect_of(snapshot, region.start, region.end, text)
    for at in reversed(changed):
        tried = [*parts[:at], (parts[at][0],) * 2, *parts[at + 1 :]]
        effect = effect_of(snapshot, region.start, region.end, "".join(now for _, now in tried))
        if (effect.spoils, effect.after) <= (best.spoils, best.after):
            parts, best = tried, effect
    return "".join(now for _, now in parts)


def choose(
    snapshot: Snapshot, region: Selection, candidates: Iterable[Candidate]
) -> Repaired | None:
    """The accepted candidate that leaves the fewest errors, most like the old text, then surest."""
    old = snapshot.text[region.start : region.end]

    def rank(candidate: Candidate) -> tuple[int, float, float]:
        alike = difflib.SequenceMatcher(None, old, candidate.text, autojunk=False).ratio()
        return candidate.verdict.errors_after, -alike, -candidate.score

    accepted = [each for each in candidates if each.verdict.accepted]
    if not accepted:
        return None
    best = min(accepted, key=rank)
    verdict = best.verdict
    return Repaired(
        smallest(snapshot, region, best.text),
        How.MODEL,
        Effect(verdict.errors_before, verdict.errors_after, spoils=False),
    )


def smallest(snapshot: Snapshot, region: Selection, text: str) -> Edit:
    """An edit of only what differs, which splits nothing that a person sees as one character."""
    old = snapshot.text[region.start : region.end]
    most = min(len(old), len(text))
    head = 0
    while head < most and old[head] == text[head]:
        head += 1
    while not (is_border(old, head) and is_border(text, head)):
        head -= 1
    tail = 0
    while tail < most - head and old[-1 - tail] == text[-1 - tail]:
        tail += 1
    while not (is_border(old, len(old) - tail) and is_border(text, len(text) - tail)):
        tail -= 1
    return Edit(
        region.start + head,
        region.end - tail,
        text[head : len(text) - tail],
        snapshot.version,
    )
