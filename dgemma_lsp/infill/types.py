"""The values of the infill core: offsets and strings, never LSP positions or sockets.

Offsets count characters (Python string indices) of the document's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.tree import ParsedText


class HoleKind(StrEnum):
    """How much text a hole may take up."""

    MID_LINE = "mid_line"
    """Code follows on the line: part of one line."""
    LINE = "line"
    """Nothing but blanks follows: the rest of one line."""
    BLOCK = "block"
    """The cursor stands where a block is expected: several lines."""


class SchemaCheck(Protocol):
    """What a structured document must keep to beyond its grammar."""

    def faults(self, snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
        """Return what ``text`` at ``offset`` breaks, in order of place."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document frozen at one version, with its syntax tree.

    ``schema`` compares it with a schema; ``None`` where no schema can apply.
    """

    uri: str
    version: int
    parsed: ParsedText
    language: Language
    schema: SchemaCheck | None = None

    @property
    def text(self) -> str:
        """The whole document."""
        return self.parsed.text


@dataclass(frozen=True, slots=True)
class Hole:
    """The place to fill: an empty range at ``offset``."""

    offset: int
    kind: HoleKind


@dataclass(frozen=True, slots=True)
class Budget:
    """Sizes a context is cut to, in characters.

    ``suffix_chars`` is what stands clamped in the canvas after the span.
    """

    prefix_chars: int
    suffix_chars: int


@dataclass(frozen=True, slots=True)
class Context:
    """What the model sees: the text before the hole and the head of the text after it."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Whole lines to rewrite, from the start of the first to the end of the last.

    The line break after them is not part of it, nor are blank lines at either end.
    """

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """A text to put in the place of ``start`` to ``end``, good for one version of a document."""

    start: int
    end: int
    text: str
    version: int


class DeclineReason(StrEnum):
    """Why no request was made."""

    OFF = "off"
    IGNORED_FILE = "ignored_file"
    MANUAL_ONLY = "manual_only"
    UNKNOWN_DOCUMENT = "unknown_document"
    OUT_OF_RANGE = "out_of_range"
    INSIDE_WORD = "inside_word"
    SELECTED_COMPLETION = "selected_completion"
    NOTHING_SELECTED = "nothing_selected"
    NOT_OFFERED = "not_offered"
    TOO_LONG = "too_long"
    NOTHING_BROKEN = "nothing_broken"
    ALL_PINNED = "all_pinned"
    UNKNOWN_PROPOSAL = "unknown_proposal"
    NOT_OPEN = "not_open"
    NO_HOLES = "no_holes"
    OVERLAPPING = "overlapping"


@dataclass(frozen=True, slots=True)
class Declined:
    """No request is made here; a value, not an error. ``message`` is the reason in words."""

    reason: DeclineReason
    message: str | None = None


class RejectReason(StrEnum):
    """Why a candidate is not shown."""

    EMPTY = "empty"
    REPEATS_SUFFIX = "repeats_suffix"
    REPEATS_LINE = "repeats_line"
    ADDS_SYNTAX_ERROR = "adds_syntax_error"
    UNCHANGED = "unchanged"
    WRONG_INDENT = "wrong_indent"
    CUT_OFF = "cut_off"
    CONFLICT_MARKS = "conflict_marks"
    REPEATS_ITSELF = "repeats_itself"
    OPEN_STRING = "open_string"
    BAD_SEAM = "bad_seam"
    BREAKS_SCHEMA = "breaks_schema"
    DUPLICATE_KEY = "duplicate_key"
    BAD_MARKUP = "bad_markup"
    UNSURE = "unsure"
    STILL_BROKEN = "still_broken"
    DROPS_CODE = "drops_code"


class FaultPlace(StrEnum):
    """Where a fault lies, seen from the candidate."""

    BEFORE = "before"
    INSIDE = "inside"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a candidate in its place.

    Attributes:
        reason: What is wrong.
        start: First character of the candidate's text that is at fault; 0 or the text's length
            for faults before or after it.
        end: End of the range; may equal ``start``, where something is missing.
        place: Whether the fault lies in the candidate at all. A fault outside it alone means that
            the candidate has the wrong length.
        missing: What a grammar expected at ``start``, such as ``)``; empty when nothing is missing.
        message: More in words, where the reason does not say it all.
    """

    reason: RejectReason
    start: int
    end: int
    place: FaultPlace = FaultPlace.INSIDE
    missing: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the validator found.

    Attributes:
        accepted: The candidate may be shown.
        reason: Why not, when it may not.
        parser: Name of the grammar that judged, or ``None`` when only bracket checks could be made.
        errors_before: ERROR and MISSING nodes around the hole with nothing in it, or with a mere
            name in it where that makes fewer of them.
        errors_after: The same with the candidate in place.
        trimmed: What was cut off the model's text, and by which rule; empty when nothing was.
        faults: Everything that is wrong with it, in order of place; empty when accepted.
    """

    accepted: bool
    reason: RejectReason | None = None
    parser: str | None = None
    errors_before: int = 0
    errors_after: int = 0
    trimmed: tuple[str, ...] = field(default=())
    faults: tuple[Fault, ...] = field(default=())


class Mended(StrEnum):
    """How a candidate became sound that was not."""

    BY_HAND = "by_hand"
    """A delimiter was put in or taken out."""
    RENOISED = "renoised"
    """A part of it was denoised again."""
    HEAD = "head"
    """Only its first lines are sound; the others are left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text for the hole that passed or failed the validator.

    Attributes:
        text: What the rules left of the model's text.
        raw: The model's text.
        score: Mean log-probability of its tokens, in nats.
        lowest: Smallest probability of any of its tokens.
        steps: Denoise steps it took, those of repairs included.
        stopped: Why the loop ended.
        verdict: What the validator found.
        tokens: Characters and probability of every token of ``raw``; empty when not told.
        draft: What the runtime keeps its canvas under; 0 for nothing.
        mended: How it became sound; ``None`` when it was so from the start, or is not.
        rounds: Rounds of denoising again.
        weight: How likely the model's causal pass finds it with what follows, in nats, to compare
            with the others of its answer; ``None`` when nobody asked.
    """

    text: str
    raw: str
    score: float
    lowest: float
    steps: int
    stopped: str
    verdict: Verdict
    tokens: tuple[tuple[int, float], ...] = field(default=())
    draft: int = 0
    mended: Mended | None = None
    rounds: int = 0
    weight: float | None = None
