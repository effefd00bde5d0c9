"""A rewrite without the model: which lines, whether it is on offer, the canvas, and the check.

Whole lines are replaced, since that is what models are trained on; an instruction goes out only in
the words a model was trained with, because any others get answers nobody has measured. Offsets and
strings only; what a model offers comes in from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

from dgemma_lsp.infill.capture import Limits, around, budget_for
from dgemma_lsp.infill.judging.judge import judge_edit, main_reason
from dgemma_lsp.infill.segments import Canvas, Known, Rewriting, Span
from dgemma_lsp.infill.trim import newline_of
from dgemma_lsp.infill.types import (
    Budget,
    Declined,
    DeclineReason,
    RejectReason,
    Selection,
    Snapshot,
    Verdict,
)
from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.syntax.scope import indent_width

_NEWLINE = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"\w")
_PLACEHOLDER = re.compile(r"\{([a-z]\w*)\}")
_MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_MARK_CHARS = 20
"""What the layout of a rewrite adds to its texts, about."""
_LENGTH_SLACK = 1.5
"""Indented code packs more characters into a token than is typical, and some rewrites shorten.
What is too long all the same is seen when the answer does not end."""


class Offer(Protocol):
    """One kind of rewrite that a model was trained for."""

    @property
    def kind(self) -> str:
        """Its name."""
        ...

    @property
    def instruction(self) -> str:
        """The words it was trained with; ``{a}`` stands for an argument."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """LSP language identifiers; empty for all."""
        ...


class RewriteLimits(Limits, Protocol):
    """The numbers of a model that a rewrite must keep to."""

    @property
    def max_span_tokens(self) -> int:
        """Positions of the longest span."""
        ...


def select(snapshot: Snapshot, start: int, end: int) -> Selection | Declined:
    """The lines that a range of offsets has characters of, without blank ones at either end.

    Editors select whole lines up to the start of the next one. An empty range is its line.
    """
    parsed = snapshot.parsed
    start, end = min(start, end), max(start, end)
    first, last = parsed.lines.line(start), parsed.lines.line(end)
    if last > first and end == parsed.lines.start(last):
        last -= 1
    if last > first and start == parsed.line_span(first)[1]:
        first += 1
    while first <= last and not parsed.line_text(first).strip():
        first += 1
    while last >= first and not parsed.line_text(last).strip():
        last -= 1
    if first > last:
        return Declined(DeclineReason.NOTHING_SELECTED, "There is no text on the selected lines.")
    return Selection(parsed.lines.start(first), parsed.line_span(last)[1])


_Offered = TypeVar("_Offered", bound=Offer)


def offers_for(language: Language, offers: Iterable[_Offered]) -> tuple[_Offered, ...]:
    """The offers that hold in a language."""
    return tuple(
        offer
        for offer in offers
        if not offer.languages or set(offer.languages).intersection(language.ids)
    )


def takes_argument(offer: Offer) -> bool:
    """Whether an offer's instruction has a place to fill in."""
    return _PLACEHOLDER.search(offer.instruction) is not None


def find_instruction(asked: str, language: Language, offers: Iterable[Offer]) -> str | Declined:
    """The instruction in the model's own words, or why it is not on offer.

    Letter case and blanks do not count, except in arguments.
    """
    words = " ".join(asked.split())
    here = offers_for(language, offers)
    for offer in here:
        found = re.fullmatch(_pattern(offer.instruction), words, re.IGNORECASE)
        if found is not None:
            return _filled(offer.instruction, found)
    known = "; ".join(offer.instruction for offer in here)
    return Declined(
        DeclineReason.NOT_OFFERED,
        f"The model was not trained to do that in {language.name}. It knows: {known}."
        if known
        else f"The model was not trained for rewrites in {language.name}.",
    )


def _filled(instruction: str, found: re.Match[str]) -> str:
    return _PLACEHOLDER.sub(lambda place: found[place[1]], instruction)


def _pattern(instruction: str) -> str:
    parts: list[str] = []
    at, seen = 0, set[str]()
    for place in _PLACEHOLDER.finditer(instruction):
        name = place[1]
        parts.append(re.escape(instruction[at : place.start()]))
        parts.append(f"(?P={name})" if name in seen else rf"(?P<{name}>\S.*?)")
        seen.add(name)
        at = place.end()
    return "".join([*parts, re.escape(instruction[at:])])


def lay_out(
    snapshot: Snapshot, selection: Selection, instruction: str, limits: RewriteLimits
) -> Canvas | Declined:
    """The canvas of a rewrite: a span, and the lines after it clamped from their line break on."""
    original = snapshot.text[selection.start : selection.end]
    tokens = int(len(original) / limits.chars_per_token)
    if tokens > limits.max_span_tokens * _LENGTH_SLACK:
        return Declined(
            DeclineReason.TOO_LONG,
            f"The selection has about {tokens} tokens; the model rewrites "
            f"{limits.max_span_tokens} at most. Select fewer lines.",
        )
    whole = budget_for(limits)
    context = around(
        snapshot.parsed,
        selection.start,
        selection.end,
        # The runtime cuts to the token; this keeps it from cutting anew at every request.
        Budget(
            whole.prefix_chars - len(original) - len(instruction) - _MARK_CHARS,
            whole.suffix_chars,
        ),
    )
    # A model ends a rewrite where it sees a line end, even where the document has none.
    after = _unified(context.suffix)
    return Canvas(
        _unified(context.prefix),
        (
            Span(tokens=limits.max_span_tokens),
            Known(after if after.startswith("\n") else "\n" + after),
        ),
        Rewriting(instruction, _unified(original)),
    )


def check(
    snapshot: Snapshot, selection: Selection, raw: str, *, ended: bool = True
) -> tuple[str, Verdict]:
    """Tidy a model's lines for a selection and judge them in their place.

    They may not add an error to what the document has.

    Args:
        snapshot: The document.
        selection: The lines that are replaced.
        raw: The model's text.
        ended: The model came to an end; otherwise lines may be missing.

    Returns:
        The text to put in, and the verdict on it.
    """
    original = snapshot.text[selection.start : selection.end]
    text, rules = _tidied(raw, snapshot.text)
    grammar = snapshot.parsed.grammar
    parser = None if grammar is None else grammar.name
    reason = _fault(snapshot, selection, original, text, ended=ended)
    if reason is not None:
        return text, Verdict(False, reason, parser, trimmed=rules)
    found = judge_edit(snapshot, selection.start, selection.end, text)
    reason = main_reason(found.faults)
    return text, Verdict(
        reason is None,
        reason,
        parser,
        found.errors_before,
        found.errors_after,
        rules,
        found.faults,
    )


def _tidied(raw: str, document: str) -> tuple[str, tuple[str, ...]]:
    """The document's line breaks, and no blank lines at either end; the indentation stays."""
    lines = _NEWLINE.split(raw)
    text_lines = [at for at, line in enumerate(lines) if line.strip()]
    kept = lines[text_lines[0] : text_lines[-1] + 1] if text_lines else []
    if kept:
        kept[-1] = kept[-1].rstrip()
    text = newline_of(document).join(kept)
    rules: list[str] = []
    if newline_of(document) != "\n" and len(lines) > 1:
        rules.append("line_endings")
    if "\n".join(kept) != "\n".join(lines):
        rules.append("blank_ends")
    return text, tuple(rules)


def _fault(
    snapshot: Snapshot, selection: Selection, original: str, text: str, *, ended: bool
) -> RejectReason | None:
    """What is wrong with a text that parses as well as any other."""
    lines, old = _NEWLINE.split(text), _NEWLINE.split(original)
    if not text:
        return RejectReason.EMPTY
    if not ended:
        return RejectReason.CUT_OFF
    if any(line.startswith(_MARKS) and line not in old for line in lines):
        return RejectReason.CONFLICT_MARKS
    if [line.rstrip() for line in lines] == [line.rstrip() for line in old]:
        return RejectReason.UNCHANGED
    if snapshot.language.block is BlockRule.INDENT and _leaves_block(old, lines):
        return RejectReason.WRONG_INDENT
    below = _line_below(snapshot, selection)
    says = _WORD.search(below) is not None and below != snapshot.language.block_closer
    if says and lines[-1].strip() == below and old[-1].strip() != below:
        return RejectReason.REPEATS_SUFFIX
    return None


def _leaves_block(old: list[str], new: list[str]) -> bool:
    """Whether lines stand elsewhere than those they replace; such a text may well parse."""
    before, after = ([indent_width(line) for line in part if line.strip()] for part in (old, new))
    return before[0] != after[0] or min(after) < min(before)


def _line_below(snapshot: Snapshot, selection: Selection) -> str:
    """The next line with text on it, without its blanks; empty when there is none."""
    parsed = snapshot.parsed
    for line in range(parsed.lines.line(selection.end) + 1, parsed.lines.count):
        text = parsed.line_text(line).strip()
        if text:
            return text
    return ""


def _unified(text: str) -> str:
    """Line breaks as models know them."""
    return _NEWLINE.sub("\n", text)
