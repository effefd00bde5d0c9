"""Several holes of one document: what stands in each for now, canvases for them, and the check.

A ``Sheet`` is the document with something in every hole: a text that was found sound, or a stand-in
that disturbs the parser least. Each text is judged in its place on the sheet, so with what is sound
of the others. Offsets and strings only; who is asked, and how often, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Protocol

from dgemma_lsp.infill import injections, segments, validate
from dgemma_lsp.infill.capture import Limits, around, budget_for
from dgemma_lsp.infill.judging.judge import LONGEST_TEXT, judge_edit
from dgemma_lsp.infill.marks import Mark, Marked
from dgemma_lsp.infill.segments import Canvas, Known, Piece, Span
from dgemma_lsp.infill.trigger import find_hole, max_lines
from dgemma_lsp.infill.types import Budget, Context, Hole, HoleKind, Snapshot, Verdict
from dgemma_lsp.syntax.errors import count_errors

_LEAST_SUFFIX = 16
"""Tokens behind the last hole of a canvas that are always left for known text."""

_LEAST = {HoleKind.MID_LINE: 10, HoleKind.LINE: 16, HoleKind.BLOCK: 32}
"""Tokens below which a hole of a kind had better wait for a canvas of its own."""

_WANTED = {HoleKind.MID_LINE: 24, HoleKind.LINE: 40, HoleKind.BLOCK: 10_000}
"""Tokens beyond which a hole of a kind has no use for more."""


class SpanLimits(Limits, Protocol):
    """The numbers of a model that several spans must keep to."""

    @property
    def max_span_tokens(self) -> int:
        """Positions of the longest span."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """A hole on a sheet, seen alone: the document with nothing in it, and where it is."""

    snapshot: Snapshot
    hole: Hole


class Sheet:
    """A document with something in every marked hole.

    Args:
        snapshot: The document.
        marked: Its holes, in order and apart from each other.
    """

    def __init__(self, snapshot: Snapshot, marked: Sequence[Marked]) -> None:
        self.snapshot = snapshot
        self.marked = tuple(marked)
        self.texts: list[str | None] = [None] * len(marked)
        """What was found for each hole, without its lead and tail."""
        self.kinds: list[HoleKind] = []
        self._held = [snapshot.text[each.start : each.end] for each in marked]
        self._parsed = snapshot.parsed
        for number in range(len(marked)):
            self._hold(number, self._stand_in(number))
        self._stand_ins = tuple(self._held)
        for number in range(len(marked)):
            self.kinds.append(self._kind(number))

    def put(self, number: int, text: str | None) -> None:
        """Put a text into a hole; ``None`` puts the stand-in back."""
        each = self.marked[number]
        self.texts[number] = text
        held = self._stand_ins[number] if text is None else each.lead + text + each.tail
        self._hold(number, held)

    def original(self, number: int) -> str:
        """What the document has where a hole is."""
        each = self.marked[number]
        return self.snapshot.text[each.start : each.end]

    def replacement(self, number: int) -> str | None:
        """What is to be put in place of ``original``; ``None`` when nothing was found."""
        each, text = self.marked[number], self.texts[number]
        return None if text is None else each.lead + text + each.tail

    def site(self, number: int) -> Site:
        """A hole alone, what stands in the others left in them."""
        each, at = self.marked[number], self._at(number)
        parsed = self._parsed.edited(at, at + len(self._held[number]), each.lead + each.tail)
        whole = self.snapshot
        emptied = Snapshot(whole.uri, whole.version, parsed, whole.language, whole.schema)
        inner, shift = injections.inner(emptied, at + len(each.lead))
        return Site(inner, Hole(at + len(each.lead) - shift, self.kinds[number]))

    def check(self, number: int, raw: str) -> tuple[str, Verdict]:
        """Trim a model's text for a hole and judge it among what stands in the others."""
        site = self.site(number)
        return validate.check(site.snapshot, site.hole, raw)

    def unsound_together(self) -> int | None:
        """The hole whose text spoils the document with all texts in it; ``None`` if none does.

        What is too long to be judged at once was judged hole by hole, each with those before it.
        """
        filled = [number for number, text in enumerate(self.texts) if text is not None]
        if not filled:
            return None
        start, end = self.marked[filled[0]].start, self.marked[filled[-1]].end
        at, ends = start, list[int]()
        parts: list[str] = []
        for number in filled:
            each = self.marked[number]
            parts += [self.snapshot.text[at : each.start], self.replacement(number) or ""]
            ends.append(sum(len(part) for part in parts))
            at = each.end
        text = "".join(parts)
        if max(len(text), end - start) > LONGEST_TEXT:
            return None
        inner, shift = injections.inner(self.snapshot, start)
        if injections.inner(self.snapshot, end)[1] != shift:
            return None  # they stand in different languages, and cannot disturb each other
        found = judge_edit(inner, start - shift, end - shift, text)
        if not found.faults:
            return None
        fault = found.faults[0]
        return next((n for n, ended in zip(filled, ends, strict=True) if ended >= fault.start), -1)

    # -- canvases -----------------------------------------------------------------------------

    def canvas(
        self, numbers: Sequence[int], limits: SpanLimits, budget: Budget | None = None
    ) -> Canvas:
        """The canvas of some neighbouring holes; what stands in the others is known text.

        ``budget`` is what the document may have of the model's context; all by default.
        """
        budget = budget or budget_for(limits)
        if len(numbers) == 1:
            return self._alone(numbers[0], budget)
        first, last = numbers[0], numbers[-1]
        pieces: list[Piece] = []
        between = self._between(numbers)
        sizes = share([self.kinds[number] for number in numbers], between, limits)
        room = limits.canvas_tokens - sum(sizes) - sum(_tokens(each, limits) for each in between)
        for index, number in enumerate(numbers):
            pieces.append(Span(max_lines(self.kinds[number]), sizes[index]))
            if number != last and between[index]:
                pieces.append(Known(between[index]))
        context = self._context(
            first, last, replace(budget, suffix_chars=int(max(0, room) * limits.chars_per_token))
        )
        if context.suffix:
            pieces.append(Known(context.suffix))
        return Canvas(context.prefix, tuple(pieces))

    def _alone(self, number: int, budget: Budget) -> Canvas:
        context = self._context(number, number, budget)
        return segments.lay_out(Hole(0, self.kinds[number]), context)

    def _context(self, first: int, last: int, budget: Budget) -> Context:
        """The text before a hole and behind another, as it is on the sheet.

        What nobody has filled yet ends the suffix: it would only be said again.
        """
        start, end = self._at(first), self._at(last) + len(self._held[last])
        later = range(last + 1, len(self.marked))
        stop = next((self._at(n) for n in later if self.texts[n] is None), len(self._parsed.text))
        suffix_chars = max(0, min(budget.suffix_chars, stop - end))
        found = around(self._parsed, start, end, replace(budget, suffix_chars=suffix_chars))
        lead, tail = self.marked[first].lead, self.marked[last].tail
        return Context(found.prefix + lead, tail + found.suffix)

    def _between(self, numbers: Sequence[int]) -> list[str]:
        """The known text behind each of some holes, up to the next one."""
        return [
            self.marked[here].tail
            + self._parsed.text[self._at(here) + len(self._held[here]) : self._at(there)]
            + self.marked[there].lead
            for here, there in pairwise(numbers)
        ]

    def groups(self, numbers: Sequence[int], limits: SpanLimits, most: int) -> list[list[int]]:
        """Holes in document order, as many together as fit into a canvas, ``most`` at most."""
        made: list[list[int]] = []
        for number in numbers:
            if made and len(made[-1]) < most and self._fits([*made[-1], number], limits):
                made[-1].append(number)
            else:
                made.append([number])
        return made

    def _fits(self, numbers: Sequence[int], limits: SpanLimits) -> bool:
        least = sum(_least(self.kinds[number], limits) for number in numbers)
        between = sum(_tokens(each, limits) for each in self._between(numbers))
        return least + between + _LEAST_SUFFIX <= limits.canvas_tokens

    # -- what stands in -----------------------------------------------------------------------

    def _at(self, number: int) -> int:
        """Where a hole starts on the sheet."""
        grown = sum(
            len(self._held[n]) - (self.marked[n].end - self.marked[n].start) for n in range(number)
        )
        return self.marked[number].start + grown

    def _hold(self, number: int, text: str) -> None:
        held = self._held[number]
        if text != held:
            at = self._at(number)
            self._parsed = self._parsed.edited(at, at + len(held), text)
            self._held[number] = text

    def _stand_in(self, number: int) -> str:
        """Of what a hole may hold for now, that which leaves the fewest errors around it."""
        each, original = self.marked[number], self.original(number)
        if each.mark is Mark.TODO or (each.mark is Mark.GIVEN and original):
            return original
        at = self._at(number)
        excerpt = self._parsed.excerpt(at, at + len(original))
        language = injections.inner(self.snapshot, each.start)[0].language
        own = "" if each.mark is Mark.GIVEN else original
        options = [language.placeholder, *language.fillers, own]
        if each.mark is Mark.GIVEN:
            options.reverse()

        def errors(option: str) -> int:
            end = excerpt.offset + len(original)
            return count_errors(excerpt.parsed.edited(excerpt.offset, end, option))

        return min(options, key=errors)

    def _kind(self, number: int) -> HoleKind:
        self.kinds.append(HoleKind.LINE)
        site = self.site(number)
        self.kinds.pop()
        found = find_hole(site.snapshot, site.hole.offset, invoked=True)
        return found.kind if isinstance(found, Hole) else HoleKind.MID_LINE


def share(kinds: Sequence[HoleKind], between: Sequence[str], limits: SpanLimits) -> list[int]:
    """The tokens of each of several spans on one canvas.

    Everyone has what its kind needs at least; what is left over goes to those who want more, each
    the same part of what it wants.
    """
    least = [_least(kind, limits) for kind in kinds]
    wanted = [max(_least(kind, limits), _most(kind, limits)) for kind in kinds]
    known = sum(_tokens(each, limits) for each in between)
    room = limits.canvas_tokens - known - max(_LEAST_SUFFIX, limits.canvas_tokens // 8)
    spare = max(0, room - sum(least))
    more = sum(wanted) - sum(least)
    part = min(1.0, spare / more) if more else 0.0
    return [low + int((high - low) * part) for low, high in zip(least, wanted, strict=True)]


def _least(kind: HoleKind, limits: SpanLimits) -> int:
    return max(1, min(_LEAST[kind], limits.span_tokens, limits.max_span_tokens))


def _most(kind: HoleKind, limits: SpanLimits) -> int:
    return min(_WANTED[kind], limits.span_tokens, limits.max_span_tokens)


def _tokens(text: str, limits: SpanLimits) -> int:
    """About how many tokens a text has; dense code has more than is typical."""
    return ceil(len(text) / limits.chars_per_token * 1.15) + 1 if text else 0
