"""Checks of Markdown that no grammar makes, since any text is Markdown: does it say what it means?

Each check looks at the lines that a text touches, with the text in its place: rows of tables,
fences, items of lists, and marks within a paragraph that are opened and not closed. Code in fences
is left alone. Surface rules only; what they cannot be sure of passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from dgemma_lsp.infill.judging.inline_marks import Mark, open_marks
from dgemma_lsp.infill.types import Fault, RejectReason, Snapshot

MAX_CHARS = 200_000
"""Longer documents are not looked at: fences are counted from the top."""

_FAR_LINES = 200
"""How far around the text a paragraph, a table or a list is followed."""

_BREAK = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<mark>`{3,}|~{3,})(?P<info>.*)")
_DELIMITERS = re.compile(r"[ \t>]*[|:\-][ \t|:\-]*")
_DELIMITER = re.compile(r":?-+:?")
_CELL_BORDER = re.compile(r"(?<!\\)(?:\\\\)*\|")
_ITEM = re.compile(r"(?P<indent>[ \t]*)(?P<mark>[-*+]|(?P<number>\d{1,9})[.)])(?P<gap>[ \t]+|$)")
_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})")
_OWN_BLOCK = re.compile(r"[ \t]*(?:#{1,6}(?:[ \t]|$)|<|\|)")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line; ``fence`` is its part in a fence: "" for none, or open, inside, close."""

    start: int
    text: str
    fence: str
    number: int


@dataclass(frozen=True, slots=True)
class Page:
    """A document with a text in it, as lines; offsets are characters of the whole."""

    lines: tuple[_Line, ...]
    first: int
    last: int
    start: int
    end: int
    without: tuple[_Line, ...]

    def is_new(self, start: int, end: int) -> bool:
        """Whether a range and the text have a character in common."""
        return start < self.end and end > self.start

    def fault(self, start: int, end: int, message: str, missing: str = "") -> Fault:
        """A fault in a range of the document, cut to the text."""
        low = min(max(start, self.start), self.end) - self.start
        high = min(max(end, self.start), self.end) - self.start
        return Fault(RejectReason.BAD_MARKUP, low, max(low, high), missing=missing, message=message)


def faults(snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
    """Return what is malformed in ``text`` at a character offset, in order of place."""
    if not text.strip() or len(snapshot.text) + len(text) > MAX_CHARS:
        return ()
    page = _page(snapshot.text, offset, text)
    found = [fault for check in CHECKS for fault in check(page)]
    return tuple(sorted(found, key=lambda fault: (fault.start, fault.end)))


def unclosed_fences(page: Page) -> list[Fault]:
    """Fences that the text opens, and nobody closes but the end of another fence."""
    found: list[Fault] = []
    for line in page.lines[page.first : page.last + 1]:
        mark = _FENCE.match(line.text)
        if line.fence != "open" or mark is None:
            continue
        start, end = line.start + mark.start("mark"), line.start + mark.end("mark")
        if not page.is_new(start, end):
            continue
        after = (one for one in page.lines[line.number + 1 :] if one.fence == "close")
        closer = next(after, None)
        if closer is None or _is_taken(closer, page):
            message = "The fence is not closed."
            found.append(page.fault(start, end, message, missing=mark["mark"]))
    return found


def _is_taken(closer: _Line, page: Page) -> bool:
    """Whether a line after the text closes another fence when the text is not there."""
    if closer.start < page.end:
        return False
    from_end = len(page.lines) - closer.number
    if from_end > len(page.without):
        return False
    at = len(page.without) - from_end
    if page.without[at].fence != "close":
        return False
    opener = next(line for line in reversed(page.without[:at]) if line.fence == "open")
    return opener.start >= page.start


def ragged_rows(page: Page) -> list[Fault]:
    """Rows with more or fewer cells than the table's head, and bad lines of dashes."""
    found: list[Fault] = []
    for at in range(page.first, page.last + 1):
        line = page.lines[at]
        if line.fence or not _is_row(line.text) or not _touched(line, page):
            continue
        head = _head_of(page, at)
        wrong = ""
        if head is not None and at > head:
            cells, wanted = _cells(line.text), _cells(page.lines[head].text)
            if at == head + 1 and not all(_DELIMITER.fullmatch(cell) for cell in cells):
                wrong = "Under the head of a table, every cell is a line of dashes."
            elif len(cells) != len(wanted):
                wrong = f"The row has {len(cells)} cells and the head has {len(wanted)}."
        if wrong:
            found.append(page.fault(line.start, line.start + len(line.text), wrong))
    return found


def _is_row(text: str) -> bool:
    return _CELL_BORDER.search(text) is not None


def _head_of(page: Page, at: int) -> int | None:
    """The first line of the table of a line; ``None`` where it is in none."""
    first = at
    while first > max(0, at - _FAR_LINES) and _joins(page.lines[first - 1]):
        first -= 1
    if first == at:
        return None
    if _DELIMITERS.fullmatch(page.lines[first + 1].text):
        return first
    # Two rows between borders are meant as a table, also without the line of dashes.
    bordered = [page.lines[line].text.strip() for line in (first, first + 1)]
    between = all(
        text.startswith("|") and text.endswith("|") and len(text) > 1 for text in bordered
    )
    return first if between else None


def _joins(line: _Line) -> bool:
    return not line.fence and bool(line.text.strip()) and _is_row(line.text)


def _cells(text: str) -> list[str]:
    bare = text.strip().lstrip("> \t")
    if bare.startswith("|"):
        bare = bare[1:]
    borders = [found.end() - 1 for found in _CELL_BORDER.finditer(bare)]
    if borders and borders[-1] == len(bare) - 1:
        bare = bare[:-1]
        borders.pop()
    cuts = [-1, *borders, len(bare)]
    return [bare[low + 1 : high].strip() for low, high in pairwise(cuts)]


def odd_items(page: Page) -> list[Fault]:
    """Items that do not go on with the list they stand in: number, mark or indentation."""
    found: list[Fault] = []
    for at in range(page.first, page.last + 1):
        line = page.lines[at]
        item = None if line.fence or _RULE.fullmatch(line.text) else _ITEM.match(line.text)
        if item is None:
            continue
        start, end = line.start + item.start("mark"), line.start + item.end("mark")
        if page.is_new(start, end) and (wrong := _oddity(page, at, item)):
            found.append(page.fault(start, end, wrong))
    return found


def _oddity(page: Page, at: int, item: re.Match[str]) -> str:
    column = _width(item["indent"])
    siblings: list[re.Match[str]] = []
    parents: list[re.Match[str]] = []
    touching = True
    lowest = column
    for line in reversed(page.lines[max(0, at - _FAR_LINES) : at]):
        if line.fence:
            continue
        if not line.text.strip():
            touching = touching and bool(siblings)
            continue
        other = None if _RULE.fullmatch(line.text) else _ITEM.match(line.text)
        indent = _width(line.text[: len(line.text) - len(line.text.lstrip(" \t"))])
        if other is None:
            if indent <= lowest and (_OWN_BLOCK.match(line.text) or indent == 0):
                break
            continue
        if indent == column and not parents:
            siblings.append(other)
        elif indent < lowest:
            parents.append(other)
            lowest = indent
            if siblings or indent == 0:
                break
        elif indent > column and not siblings and not parents and _is_aslant(other, item):
            return "The item stands between two levels of the list."
    if not siblings:
        between = bool(parents) and _is_aslant(item, parents[0])
        return "The item stands between two levels of the list." if between else ""
    return _unlike(item, siblings, touching=touching)


def _is_aslant(inner: re.Match[str], outer: re.Match[str]) -> bool:
    """Whether ``inner`` is indented deeper than ``outer``, but not as far as its text."""
    depth, level = _width(inner["indent"]), _width(outer["indent"])
    numbered = inner["number"] and outer["number"]
    if numbered and depth + len(inner["mark"]) == level + len(outer["mark"]):
        return False  # numbers may be set flush right
    return level < depth < level + 2


def _unlike(item: re.Match[str], siblings: list[re.Match[str]], *, touching: bool) -> str:
    above = siblings[0]
    if item["mark"][-1] != above["mark"][-1]:
        if not touching:
            return ""  # after an empty line another list may begin
        return f"The list's items begin with `{above['mark']}`."
    if not item["number"]:
        return ""
    said, last = int(item["number"]), int(above["number"])
    same = len(siblings) > 1 and siblings[1]["number"] == above["number"]
    if said == last + (0 if same else 1) or (said == last and len(siblings) == 1):
        return ""
    if said in (0, 1) and not touching:
        return ""
    return f"After {above['mark']} comes {last + (0 if same else 1)}{above['mark'][-1]}"


def open_ends(page: Page) -> list[Fault]:
    """Links, code and emphasis that the text begins and that do not end in their paragraph."""
    found: list[Fault] = []
    at = page.first
    while at <= page.last:
        if page.lines[at].fence:
            at += 1
            continue
        first, last = _paragraph(page, at)
        at = last + 1
        begin = page.lines[first].start
        text = "\n".join(page.lines[line].text for line in range(first, last + 1))
        # Line breaks of two characters would shift what is behind them.
        for mark in open_marks(text):
            start = begin + mark.start + _shift(page, first, text, mark)
            end = start + len(mark.text)
            if page.is_new(start, end):
                message = f"`{mark.text}` is not closed in its paragraph."
                found.append(page.fault(start, end, message, missing=mark.closer))
    return found


def _shift(page: Page, first: int, text: str, mark: Mark) -> int:
    row = text.count("\n", 0, mark.start)
    joined = text.rfind("\n", 0, mark.start) + 1
    return page.lines[first + row].start - page.lines[first].start - joined


def _paragraph(page: Page, at: int) -> tuple[int, int]:
    """The first and the last line of what a line is in one paragraph with."""
    if _stands_alone(page.lines[at]):
        return at, at
    first = last = at
    while first > max(0, at - _FAR_LINES) and not _ITEM.match(page.lines[first].text):
        if _stands_alone(page.lines[first - 1]):
            break
        first -= 1
    while last < min(len(page.lines) - 1, at + _FAR_LINES):
        below = page.lines[last + 1]
        if _stands_alone(below) or _ITEM.match(below.text):
            break
        last += 1
    return first, last


def _stands_alone(line: _Line) -> bool:
    return bool(
        line.fence
        or not line.text.strip()
        or _OWN_BLOCK.match(line.text)
        or _RULE.fullmatch(line.text)
    )


CHECKS: tuple[Callable[[Page], list[Fault]], ...] = (
    unclosed_fences,
    ragged_rows,
    odd_items,
    open_ends,
)


def _page(document: str, offset: int, text: str) -> Page:
    lines = _lines(document[:offset] + text + document[offset:])
    end = offset + len(text)
    touched = [line.number for line in lines if line.start <= end]
    first = max(line.number for line in lines if line.start <= offset)
    return Page(tuple(lines), first, touched[-1], offset, end, tuple(_lines(document)))


def _lines(text: str) -> list[_Line]:
    made: list[_Line] = []
    starts = [0, *(found.end() for found in _BREAK.finditer(text))]
    ends = [*(found.start() for found in _BREAK.finditer(text)), len(text)]
    mark = ""
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        line = text[start:end]
        found = _FENCE.match(line)
        part = "inside" if mark else ""
        if found is not None and not mark:
            if found["mark"][0] == "~" or "`" not in found["info"]:
                part, mark = "open", found["mark"]
        elif found is not None and found["mark"].startswith(mark) and not found["info"].strip():
            part, mark = "close", ""
        made.append(_Line(start, line, part, number))
    return made


def _touched(line: _Line, page: Page) -> bool:
    return page.is_new(line.start, line.start + len(line.text))


def _width(blanks: str) -> int:
    return len(blanks.expandtabs(4))
