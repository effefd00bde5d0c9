"""How a faulty draft is mended: by hand where that is enough, else which tokens to denoise again.

The plan of one round is a layout of the draft's own span: what is kept, what is written, and what
is denoised again. It starts at the innermost faults, takes along the tokens next to them that the
model was unsure of, and widens when a round did not help: tokens, lines, all that follows. Faults
that lie outside the draft alone mean that it has the wrong length. Texts and offsets only;
``repairing`` asks the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from dgemma_lsp.infill.repairs import delimiters
from dgemma_lsp.infill.trim import newline_of
from dgemma_lsp.infill.types import Fault, FaultPlace, RejectReason
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.errors import SyntaxFault

MAX_ROUNDS = 3

_UNSURE = 0.5
"""Probability below which a token next to a fault is denoised again with it."""

_NEAR_TOKENS = 3
"""How far from a fault an unsure token may lie: errors show up a little behind their cause."""

_LENGTHS = (0, 1, -1)
"""Positions more or less than the tokens that stood there. Behind a part in the middle clamped text
follows at once, and a model fills what it is given; so lengths are tried one after the other."""

_ROOM = 4
"""Positions more where the draft ends: there the model says where it ends."""

_MORE = 8
"""Positions added behind a draft that ends too early."""

_LEXEME = re.compile(r"[ \t]*(?:\w+|[^\w\s])|\s+")
_MOST_GUESSES = 16
"""Changes by hand that are tried; each costs a parse."""


# -- the draft ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a draft: its characters, and the probability it was accepted with."""

    start: int
    end: int
    sure: float


@dataclass(frozen=True, slots=True)
class Draft:
    """A model's text for one span as its tokens; ``handle`` is what the runtime keeps it under."""

    text: str
    tokens: tuple[Token, ...]
    handle: int = 0


def make_draft(text: str, tokens: Iterable[tuple[int, float]], handle: int = 0) -> Draft:
    """Place tokens, given by their number of characters and their probability.

    A text that nobody knows the tokens of is cut into lexemes.
    """
    made: list[Token] = []
    at = 0
    for chars, sure in tokens:
        made.append(Token(at, at + chars, sure))
        at += chars
    if at != len(text):
        return Draft(text, tuple(Token(m.start(), m.end(), 1.0) for m in _LEXEME.finditer(text)))
    return Draft(text, tuple(made), handle)


# -- layouts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keep:
    """Tokens ``first`` to ``last`` (exclusive) of the draft stay, clamped."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Write:
    """A text is put there, clamped."""

    text: str


@dataclass(frozen=True, slots=True)
class Redo:
    """So many positions are denoised again."""

    tokens: int


Part: TypeAlias = Keep | Write | Redo


@dataclass(frozen=True, slots=True)
class Scope:
    """A range of characters of a draft to denoise again.

    ``room`` is how many positions it gets beyond the tokens that stood there, or how many less.
    """

    start: int
    end: int
    room: int = 0


def lay_out(draft: Draft, end: int, scopes: Sequence[Scope]) -> tuple[Part, ...]:
    """The span as it goes back to the model: the draft's first ``end`` characters with scopes free.

    A scope takes every token it touches, and at least one position. Scopes that overlap once they
    are widened to tokens are merged.
    """
    parts: list[Part] = []
    at = 0
    for first, last, room in _token_ranges(draft, end, scopes):
        if first > at:
            parts.append(Keep(at, first))
        parts.append(Redo(max(1, last - first + room)))
        at = last
    whole = next((i for i, t in enumerate(draft.tokens) if t.end > end), len(draft.tokens))
    if whole > at:
        parts.append(Keep(at, whole))
        at = whole
    if at == whole < len(draft.tokens) and draft.tokens[whole].start < end:
        parts.append(Write(draft.text[draft.tokens[whole].start : end]))
    return tuple(parts)


def _token_ranges(
    draft: Draft, end: int, scopes: Sequence[Scope]
) -> Iterator[tuple[int, int, int]]:
    tokens = [token for token in draft.tokens if token.start < end]
    merged: list[tuple[int, int, int]] = []
    for scope in sorted(scopes, key=lambda each: (each.start, each.end)):
        first = next((i for i, t in enumerate(tokens) if t.end > scope.start), len(tokens))
        last = next((i for i, t in enumerate(tokens) if t.start >= scope.end), len(tokens))
        last = max(first, last)
        if merged and first <= merged[-1][1]:
            low, high, room = merged.pop()
            merged.append((low, max(high, last), max(room, scope.room)))
        else:
            merged.append((first, last, scope.room))
    yield from merged


def assemble(draft: Draft, parts: Sequence[Part], answers: Sequence[str]) -> str:
    """The span's whole text, given the texts that came for its free parts."""
    left = iter(answers)
    said: list[str] = []
    for part in parts:
        if isinstance(part, Keep):
            said.append(kept_text(draft, part))
        else:
            said.append(part.text if isinstance(part, Write) else next(left))
    return "".join(said)


def kept_text(draft: Draft, part: Keep) -> str:
    """The characters that a kept part stands for."""
    return draft.text[draft.tokens[part.first].start : draft.tokens[part.last - 1].end]


# -- the plan of a round ------------------------------------------------------------------------


def plan(
    draft: Draft, text: str, faults: Sequence[Fault], number: int, most: int = 256
) -> tuple[tuple[Part, ...], ...]:
    """What to denoise again in round ``number`` (from 0): layouts that differ in length.

    Args:
        draft: The model's text with its tokens.
        text: What the rules left of it, which is what was judged.
        faults: What is wrong with ``text``.
        number: How many rounds there were.
        most: Positions that a model denoises at once.

    Returns:
        The layouts, the likeliest first; none when nothing can be said.
    """
    low = _place_of(draft.text, text)
    if low is None or not faults:
        return ()
    newline = newline_of(text)

    def raw(offset: int) -> int:
        return low + offset - (text.count(newline, 0, offset) * (len(newline) - 1))

    end = raw(len(text))
    scopes = _scopes(draft, [_at(fault, raw) for fault in faults], number, end)
    # Lengths are tried where that is cheap: for the few tokens of a first round.
    several = number == 0 and all(scope.end < end for scope in scopes)
    layouts = [
        lay_out(draft, end, [_sized(scope, length, end) for scope in scopes])
        for length in (_LENGTHS if several else (0,))
    ]
    return tuple(dict.fromkeys(fitting for each in layouts if (fitting := _fitted(each, most))))


def _fitted(parts: tuple[Part, ...], most: int) -> tuple[Part, ...]:
    """The layout, with less room at its end where it has too much; nothing when it cannot fit."""
    spare = most - sum(part.tokens for part in parts if isinstance(part, Redo))
    last = parts[-1] if parts else None
    if spare >= 0:
        return parts
    if isinstance(last, Redo) and last.tokens + spare > 0:
        return (*parts[:-1], Redo(last.tokens + spare))
    return ()


def _sized(scope: Scope, length: int, end: int) -> Scope:
    return replace(scope, room=(scope.room or _ROOM) if scope.end >= end else length)


def _at(fault: Fault, raw: Callable[[int], int]) -> Fault:
    return replace(fault, start=raw(fault.start), end=raw(fault.end))


def _scopes(draft: Draft, faults: Sequence[Fault], number: int, end: int) -> list[Scope]:
    """What a round takes, with offsets in the draft's own text."""
    inside = [fault for fault in faults if fault.place is FaultPlace.INSIDE]
    if number >= 2 or any(fault.reason in _WHOLE for fault in faults):
        first = min((fault.start for fault in inside), default=end)
        return [Scope(_line_start(draft.text, first), end)]
    if not inside:
        return [_outside(draft, faults, number, end)]
    widen = _unsure_near if number == 0 else _lines_of
    return [widen(draft, fault.start, fault.end, end) for fault in inside]


_WHOLE = frozenset({RejectReason.REPEATS_LINE, RejectReason.REPEATS_ITSELF})
"""What is wrong with a text as such; denoising a part of it again would say it again."""


def _outside(draft: Draft, faults: Sequence[Fault], number: int, end: int) -> Scope:
    """A draft of the wrong length: more of it, or its last line again."""
    if number == 0 and any(fault.place is FaultPlace.AFTER for fault in faults):
        return Scope(end, end, _MORE)
    return Scope(_line_start(draft.text, end), end, _MORE)


def _unsure_near(draft: Draft, low: int, high: int, end: int) -> Scope:
    """The fault's own tokens, and the unsure ones next to it."""
    near = [
        token
        for i, token in enumerate(draft.tokens)
        if token.sure < _UNSURE
        and token.start < end
        and _distance(draft.tokens, i, low, high) <= _NEAR_TOKENS
    ]
    low = min([low, *(token.start for token in near)])
    high = max([high, *(min(token.end, end) for token in near)])
    return Scope(low, high)


def _distance(tokens: Sequence[Token], index: int, low: int, high: int) -> int:
    """How many tokens lie between one and a range."""
    token = tokens[index]
    if token.end <= low:
        return sum(token.end <= other.start and other.end <= low for other in tokens[index + 1 :])
    if token.start >= high:
        return sum(high <= other.start and other.end <= token.start for other in tokens[:index])
    return 0


def _lines_of(draft: Draft, low: int, high: int, end: int) -> Scope:
    """The lines of a fault, without the last line break."""
    after = draft.text.find("\n", high, end)
    return Scope(_line_start(draft.text, low), end if after < 0 else after)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _place_of(raw: str, text: str) -> int | None:
    """Where what was judged begins in the model's text: the rules cut blanks at its head."""
    said = text.replace(newline_of(text), "\n")
    lead = len(raw) - len(raw.lstrip(" \t"))
    return next((at for at in range(lead + 1) if raw.startswith(said, at)), None)


# -- without the model --------------------------------------------------------------------------


def by_hand(text: str, faults: Sequence[Fault], language: Language) -> list[str]:
    """Texts with one delimiter put in or taken out, the likeliest first; none need be right."""
    brackets = delimiters.unmatched(text, language)
    found: dict[str, None] = {}
    for fault in faults:
        at = SyntaxFault(fault.start, fault.end, fault.missing)
        for change in delimiters.changes(text, at, brackets, language):
            found[text[: change.start] + change.text + text[change.end :]] = None
    return [each for each in found if each != text][:_MOST_GUESSES]


def heads(text: str) -> Iterator[str]:
    """The beginnings of a text that end with one of its lines, the longest first."""
    newline = newline_of(text)
    lines = text.split(newline)
    last = ""
    for count in range(len(lines) - 1, 0, -1):
        head = newline.join(lines[:count]).rstrip()
        if head.strip() and head != last:
            yield head
        last = head
