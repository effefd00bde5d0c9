"""The values of the infill core: offsets and strings, never LSP positions or sockets.

Offsets count characters (Python string indices) of the document's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document frozen at one version, with its syntax tree."""

    uri: str
    version: int
    parsed: ParsedText
    language: Language

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
    UNSURE = "unsure"


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


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text for the hole that passed or failed the validator."""

    text: str
    raw: str
    score: float
    lowest: float
    steps: int
    stopped: str
    verdict: Verdict
