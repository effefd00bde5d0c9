"""What a rewrite is, and how the places a kind finds become rewrites.

A kind yields sites: small edits of the text. An edit either does what the kind asks (real code
that can be rewritten) or undoes it (real code that already is the result, so that what a person
would start from is made up). Both give the same task; the second gives far more natural answers.
Owns windows, limits and instructions. Knows no language: that is a ``Source``'s job.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, Protocol, TypeVar

MAX_ORIGINAL_LINES = 5
MAX_ORIGINAL_CHARACTERS = 200
MAX_REPLACEMENT_LINES = 6
MAX_REPLACEMENT_CHARACTERS = 220

_WIDEN = 0.3
"""How often a selection takes in a neighbouring row, which must then come back unchanged."""
_PARAPHRASE = 0.4
"""How often another wording than the menu's is used."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One selection, what is asked of it, and the answer.

    Attributes:
        kind: Name of its kind.
        instruction: Short English, such as "use an f-string" or "rename total to amount".
        start: Offset of the first line's first column, in characters.
        end: Offset before the last line's newline.
        original: The selected lines, with indentation and without the last newline.
        replacement: The lines that answer it, in the same form.

    What the text has between ``start`` and ``end`` need be neither: where the real code had the
    result, ``original`` is made up. ``before`` and ``after`` give the whole text with either.
    """

    kind: str
    instruction: str
    start: int
    end: int
    original: str
    replacement: str

    def before(self, text: str) -> str:
        """The text as it is when the instruction is given."""
        return text[: self.start] + self.original + text[self.end :]

    def after(self, text: str) -> str:
        """The text once the instruction is followed."""
        return text[: self.start] + self.replacement + text[self.end :]


@dataclass(frozen=True, slots=True)
class Edit:
    """One splice: characters ``start`` to ``end`` become ``new``.

    ``undoes`` says that the text already has the result and ``new`` is what it came from.
    """

    start: int
    end: int
    new: str
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a kind applies; ``values`` fill the instruction's fields.

    ``rows`` is the range of characters to select where that is more than the edits' own rows.
    """

    edits: tuple[Edit, ...]
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    rows: tuple[int, int] | None = None

    @property
    def start(self) -> int:
        """Where its first edit starts, or its selection if that is earlier."""
        first = min(edit.start for edit in self.edits)
        return first if self.rows is None else min(first, self.rows[0])

    @property
    def end(self) -> int:
        """Where its last edit ends, or its selection if that is later."""
        last = max(edit.end for edit in self.edits)
        return last if self.rows is None else max(last, self.rows[1])


class Source(Protocol):
    """A parsed text."""

    @property
    def text(self) -> str:
        """The whole text."""
        ...

    @property
    def rows(self) -> Rows:
        """Its logical lines."""
        ...

    def valid(self, start: int, end: int, new: str) -> bool:
        """Whether the text still parses with whole lines ``start`` to ``end`` replaced."""
        ...

    def same(self, one: str, other: str) -> bool:
        """Whether two fragments are the same code but for formatting."""
        ...


_S_contra = TypeVar("_S_contra", bound=Source, contravariant=True)
_S = TypeVar("_S", bound=Source)


@dataclass(frozen=True, slots=True)
class Kind(Generic[_S_contra]):
    """One kind of rewrite.

    Attributes:
        name: Unique among the kinds of a language.
        languages: Language ids of the editor protocol.
        instructions: Wordings; the first is the one shown in a menu. Fields in braces are filled
            from the site.
        find: Yields the places where it applies.
        has_argument: Whether the instruction has fields.
        together: Whether every place in the selected lines is to be rewritten, not only one.
        weight: How often it is tried first, against 1.0; rare kinds have more.
    """

    name: str
    languages: tuple[str, ...]
    instructions: tuple[str, ...]
    find: Callable[[_S_contra, Random], Iterable[Site]]
    has_argument: bool = False
    together: bool = False
    weight: float = 1.0


class Rows:
    """The lines of a text, and which of them belong together as one logical line."""

    __slots__ = ("_row", "_starts", "_text")

    def __init__(self, text: str, spans: Iterable[tuple[int, int]]) -> None:
        """Take the text and the logical lines as pairs of first and last line, from 0."""
        self._text = text
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)
        self._row = [(line, line) for line in range(len(self._starts))]
        for first, last in spans:
            # Statements may share a line: then all their lines are one row.
            first, last = self._row[first][0], self._row[last][1]
            for line in range(first, last + 1):
                self._row[line] = (first, last)

    @property
    def count(self) -> int:
        """Number of physical lines."""
        return len(self._starts)

    def start(self, line: int) -> int:
        """Offset of a line's first column."""
        return self._starts[line]

    def end(self, line: int) -> int:
        """Offset of the newline that ends a line, or of the text's end."""
        return self._starts[line + 1] - 1 if line + 1 < len(self._starts) else len(self._text)

    def line_at(self, offset: int) -> int:
        """The line an offset is in."""
        return bisect.bisect_right(self._starts, offset) - 1

    def line(self, line: int) -> str:
        """A line's text without its newline."""
        return self._text[self.start(line) : self.end(line)]

    def row(self, line: int) -> tuple[int, int]:
        """First and last line of the logical line that a line is part of."""
        return self._row[line]

    def around(self, first: int, last: int) -> tuple[int, int]:
        """The lines from ``first`` to ``last``, widened to whole logical lines."""
        low, high = first, last
        for line in range(first, last + 1):
            low, high = min(low, self._row[line][0]), max(high, self._row[line][1])
        return low, high


def rewrites_of(
    kind: Kind[_S], source: _S, rng: Random, *, most: int | None = None
) -> Iterator[Rewrite]:
    """Yield what a kind finds in a text, in random order; at most ``most`` of them."""
    sites = list(kind.find(source, rng))
    order = list(range(len(sites)))
    rng.shuffle(order)
    seen: set[tuple[int, int]] = set()
    found = 0
    for index in order:
        if most is not None and found >= most:
            return
        rewrite = _rewrite(kind, source, sites, index, rng)
        if rewrite is None or (kind.together and (rewrite.start, rewrite.end) in seen):
            continue
        seen.add((rewrite.start, rewrite.end))
        found += 1
        yield rewrite


def _rewrite(
    kind: Kind[_S], source: _S, sites: Sequence[Site], index: int, rng: Random
) -> Rewrite | None:
    """The rewrite of one site, or ``None`` where it would break a limit or the text."""
    site = sites[index]
    rows = source.rows
    first, last = rows.line_at(site.start), rows.line_at(site.end)
    windows = [rows.around(first, last), (first, last)]
    if site.rows is None and rng.random() < _WIDEN:
        windows.insert(0, _widened(rows, *windows[0], rng))
    for low, high in dict.fromkeys(windows):
        start, end = rows.start(low), rows.end(high)
        edits = _edits_in(kind, sites, site, start, end)
        if edits is None:
            continue
        original = _applied(source.text, start, end, (e for e in edits if e.undoes))
        replacement = _applied(source.text, start, end, (e for e in edits if not e.undoes))
        if not _within_limits(original, replacement) or source.same(original, replacement):
            continue
        if source.valid(start, end, original) and source.valid(start, end, replacement):
            wording = kind.instructions[0]
            if len(kind.instructions) > 1 and rng.random() < _PARAPHRASE:
                wording = rng.choice(kind.instructions[1:])
            instruction = wording.format(**site.values)
            return Rewrite(kind.name, instruction, start, end, original, replacement)
    return None


def _widened(rows: Rows, first: int, last: int, rng: Random) -> tuple[int, int]:
    """The lines with the row before or after them; the same where that is blank or missing."""
    if rng.random() < 0.5:
        if first > 0 and rows.line(first - 1).strip():
            return rows.row(first - 1)[0], last
    elif last + 1 < rows.count and rows.line(last + 1).strip():
        return first, rows.row(last + 1)[1]
    return first, last


def _edits_in(
    kind: Kind[_S], sites: Sequence[Site], site: Site, start: int, end: int
) -> list[Edit] | None:
    """The edits to make between two offsets; ``None`` where places are in each other's way."""
    edits = list(site.edits)
    for other in sites:
        if other is site or other.end < start or other.start > end:
            continue
        if not kind.together:
            # Another place of the same kind would be left undone, and a checker could not tell.
            # One that shares lines with this one is an alternative to it, not a neighbour.
            if not _overlap(other, site) and not kind.has_argument:
                return None
            continue
        if other.start < start or other.end > end:
            return None
        if all(e.end <= edit.start or e.start >= edit.end for e in edits for edit in other.edits):
            edits.extend(other.edits)
    return sorted(edits, key=lambda edit: (edit.start, edit.end))


def _overlap(one: Site, other: Site) -> bool:
    return one.start <= other.end and other.start <= one.end


def _applied(text: str, start: int, end: int, edits: Iterable[Edit]) -> str:
    """The text from ``start`` to ``end`` with edits made, which are in order of their place."""
    parts: list[str] = []
    at = start
    for edit in edits:
        parts += (text[at : edit.start], edit.new)
        at = edit.end
    return "".join((*parts, text[at:end]))


def _within_limits(original: str, replacement: str) -> bool:
    return (
        bool(original.strip())
        and len(original) <= MAX_ORIGINAL_CHARACTERS
        and len(replacement) <= MAX_REPLACEMENT_CHARACTERS
        and original.count("\n") < MAX_ORIGINAL_LINES
        and replacement.count("\n") < MAX_REPLACEMENT_LINES
    )
