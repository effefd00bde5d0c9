"""A rewrite without the model: which lines, whether it is on offer, the canvas, and the check.

Whole lines are replaced, since that is what models are trained on. To a model that was trained for
certain kinds an instruction goes out only in the words of these, because any others get answers
nobody has measured. Offsets and strings only; what a model offers comes in from outside.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dgemma_lsp.infill.blocks import Block, RewriteLimits, span_tokens
from dgemma_lsp.infill.capture import around, budget_for
from dgemma_lsp.infill.hunks import TokenRange
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
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_WORD = re.compile(r"\w")
_PLACEHOLDER = re.compile(r"\{([a-z]\w*)\}")
_MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_MARK_CHARS = 20
"""What the layout of a rewrite adds to its texts, about."""
_LONGEST_INSTRUCTION = 2_000
"""Characters; what is longer is no instruction but pasted by mistake."""


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


def find_instruction(
    asked: str, language: Language, offers: Iterable[Offer], *, anything: bool = False
) -> str | Declined:
    """The instruction in the model's own words, or why it is not on offer.

    Letter case and blanks do not count, except in arguments.

    Args:
        asked: What a person wrote.
        language: The document's.
        offers: What the model was trained for.
        anything: The model takes any instruction, in the person's words where it has none.
    """
    words = " ".join(asked.split())
    here = offers_for(language, offers)
    for offer in here:
        found = re.fullmatch(_pattern(offer.instruction), words, re.IGNORECASE)
        if found is not None:
            return _filled(offer.instruction, found)
    if anything:
        return _as_written(asked)
    known = "; ".join(offer.instruction for offer in here)
    return Declined(
        DeclineReason.NOT_OFFERED,
        f"The model was not trained to do that in {language.name}. It knows: {known}."
        if known
        else f"The model was not trained for rewrites in {language.name}.",
    )


def _as_written(asked: str) -> str | Declined:
    """An instruction in a person's own words, as one line."""
    text = " ".join(line.strip() for line in asked.splitlines() if line.strip())
    if not text:
        return Declined(DeclineReason.NOT_OFFERED, "There is no instruction: say what to do.")
    if len(text) > _LONGEST_INSTRUCTION:
        return Declined(
            DeclineReason.TOO_LONG,
            f"The instruction has {len(text)} characters; {_LONGEST_INSTRUCTION} are possible.",
        )
    return text


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
    snapshot: Snapshot,
    block: Block,
    instruction: str,
    limits: RewriteLimits,
    *,
    noise: float = 1.0,
    original: str | None = None,
) -> Canvas:
    """The canvas of a block: a span for each run, the lines between and after them clamped.

    Args:
        snapshot: The document.
        block: What is written anew, and the lines between.
        instruction: What is to be done, in the model's words.
        limits: The model's numbers.
        noise: Share of the old text that is made anew; below 1 the spans begin as the old text.
        original: What the block was before it was rewritten, where that is not what stands there.
    """
    text = snapshot.text
    if original is None:
        original = text[block.start : block.end]
    whole = budget_for(limits)
    context = around(
        snapshot.parsed,
        block.start,
        block.end,
        # The runtime cuts to the token; this keeps it from cutting anew at every request.
        Budget(
            whole.prefix_chars - len(original) - len(instruction) - _MARK_CHARS,
            whole.suffix_chars,
        ),
    )
    pieces: list[Known | Span] = []
    at = block.start
    for run, tokens in zip(block.runs, span_tokens(snapshot, block, limits), strict=True):
        if run.start > at:
            pieces.append(Known(_unified(text[at : run.start])))
        start = _unified(text[run.start : run.end]) if noise < 1 else ""
        # Only the runtime knows how many tokens a start has; it gives it those, and some to spare.
        span = Span(start=start, noise=noise) if start else Span(tokens=tokens)
        pieces.append(span)
        at = run.end
    # A model ends a rewrite where it sees a line end, even where the document has none.
    after = _unified(text[at : block.end] + context.suffix)
    pieces.append(Known(after if after.startswith("\n") else "\n" + after))
    return Canvas(
        _unified(context.prefix), tuple(pieces), Rewriting(instruction, _unified(original))
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """A model's lines for a block.

    Attributes:
        runs: What to put in the place of each run; empty when its lines go.
        text: The whole block with them.
        verdict: The verdict on it.
    """

    runs: tuple[str, ...]
    text: str
    verdict: Verdict


def check(
    snapshot: Snapshot, selection: Selection, raw: str, *, ended: bool = True
) -> tuple[str, Verdict]:
    """Tidy a model's lines for a selection and judge them; see ``check_block``."""
    found = check_block(snapshot, Block.of(selection), (raw,), ended=ended)
    return found.text, found.verdict


def check_block(
    snapshot: Snapshot,
    block: Block,
    raws: Sequence[str],
    *,
    ended: bool = True,
    instead: Sequence[str] = (),
) -> Checked:
    """Tidy a model's lines for the runs of a block and judge them in their place.

    They may not add an error to what the document has.

    Args:
        snapshot: The document.
        block: The lines that are replaced.
        raws: The model's texts, one for each run.
        ended: The model came to an end; otherwise lines may be missing.
        instead: Other texts that stood in the block's place, whose indentation is as good.
    """
    newline = newline_of(snapshot.text)
    runs: list[str] = []
    rules: list[str] = []
    for raw in raws:
        text, found = _tidied(raw, newline)
        runs.append(text)
        rules += [rule for rule in found if rule not in rules]
    text = assembled(snapshot, block, runs)
    grammar = snapshot.parsed.grammar
    parser = None if grammar is None else grammar.name
    reason = _fault(snapshot, block, text, instead, ended=ended)
    if reason is None and any(
        _repeats_below(snapshot, run, new) for run, new in zip(block.runs, runs, strict=True)
    ):
        reason = RejectReason.REPEATS_SUFFIX
    if reason is not None:
        return Checked(tuple(runs), text, Verdict(False, reason, parser, trimmed=tuple(rules)))
    judged = judge_edit(snapshot, block.start, block.end, text)
    reason = main_reason(judged.faults)
    verdict = Verdict(
        reason is None,
        reason,
        parser,
        judged.errors_before,
        judged.errors_after,
        tuple(rules),
        judged.faults,
    )
    return Checked(tuple(runs), text, verdict)


def assembled(snapshot: Snapshot, block: Block, runs: Sequence[str]) -> str:
    """The block with texts in the place of its runs; the lines of an empty one are gone."""
    text = snapshot.text
    parts: list[str] = []
    at = block.start
    for run, new in zip(block.runs, runs, strict=True):
        parts += [text[at : run.start], new]
        at = run.end
        if not new and (broken := _NEWLINE.match(text, at, block.end)):
            at = broken.end()
    whole = "".join([*parts, text[at : block.end]])
    return whole if runs[-1] else whole.rstrip("\r\n")  # the last line break is not the block's


def place_tokens(
    raw: str, tokens: Iterable[tuple[int, float]], newline: str
) -> tuple[TokenRange, ...]:
    """Where the tokens of a model's text lie in what the check made of it.

    Args:
        raw: The model's text.
        tokens: Characters and probability of every token of it.
        newline: The document's line break.
    """
    lines = [found.span() for found in _LINE.finditer(raw)]
    kept = [at for at, (low, high) in enumerate(lines) if raw[low:high].strip()]
    if not kept:
        return ()
    used = lines[kept[0] : kept[-1] + 1]
    starts: list[int] = []
    ends: list[int] = []
    goes: list[int] = []
    at = 0
    for low, high in used:
        width = len(raw[low:high].rstrip("\r\n"))
        starts.append(low)
        goes.append(at)
        ends.append(at + width)
        at += width + len(newline)
    ends[-1] = goes[-1] + len(raw[slice(*used[-1])].rstrip())

    def moved(offset: int) -> int:
        if offset < starts[0]:
            return 0
        line = bisect_right(starts, offset) - 1
        return min(goes[line] + offset - starts[line], ends[line])

    made: list[TokenRange] = []
    offset = 0
    for characters, probability in tokens:
        low, high = moved(offset), moved(offset + characters)
        offset += characters
        if low < high:
            made.append(TokenRange(low, high, probability))
    return tuple(made)


def _tidied(raw: str, newline: str) -> tuple[str, tuple[str, ...]]:
    """The document's line breaks, and no blank lines at either end; the indentation stays."""
    lines = _NEWLINE.split(raw)
    text_lines = [at for at, line in enumerate(lines) if line.strip()]
    kept = lines[text_lines[0] : text_lines[-1] + 1] if text_lines else []
    if kept:
        kept[-1] = kept[-1].rstrip()
    rules: list[str] = []
    if newline != "\n" and len(lines) > 1:
        rules.append("line_endings")
    if "\n".join(kept) != "\n".join(lines):
        rules.append("blank_ends")
    return newline.join(kept), tuple(rules)


def _fault(
    snapshot: Snapshot, block: Block, text: str, instead: Sequence[str], *, ended: bool
) -> RejectReason | None:
    """What is wrong with a text that parses as well as any other."""
    before = snapshot.text[block.start : block.end]
    lines, old = _NEWLINE.split(text), _NEWLINE.split(before)
    if not text.strip():
        return RejectReason.EMPTY
    if not ended:
        return RejectReason.CUT_OFF
    if any(line.startswith(_MARKS) and line not in old for line in lines):
        return RejectReason.CONFLICT_MARKS
    if [line.rstrip() for line in lines] == [line.rstrip() for line in old]:
        return RejectReason.UNCHANGED
    if snapshot.language.block is BlockRule.INDENT and all(
        _leaves_block(_NEWLINE.split(each), lines) for each in (before, *instead) if each.strip()
    ):
        return RejectReason.WRONG_INDENT
    return None


def _repeats_below(snapshot: Snapshot, run: Selection, text: str) -> bool:
    """Whether a text for a run ends with the line that follows it anyway."""
    below = _line_below(snapshot, run)
    if _WORD.search(below) is None or below == snapshot.language.block_closer:
        return False
    old = _NEWLINE.split(snapshot.text[run.start : run.end])[-1].strip()
    return old != below and _NEWLINE.split(text)[-1].strip() == below


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
