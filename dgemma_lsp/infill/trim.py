"""From a model's raw text to the text to insert, by small rules that each have a name.

Every rule only shortens the candidate (line endings apart); none touches the document. Rules run
until none changes anything, so trimming a trimmed text does nothing. Whether the result is any
good is ``validate``'s question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from dgemma_lsp.infill.trigger import max_lines
from dgemma_lsp.infill.types import Hole, HoleKind, Snapshot
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.brackets import balance, code_depths
from dgemma_lsp.syntax.scope import indent_width, leading_blanks, opens_block, previous_line
from dgemma_lsp.syntax.tree import ParsedText

_NEXT_LINES = 12
"""Lines below the hole that the end of a candidate is compared with."""

_NEAR_CHARS = 2000
"""How far from the hole brackets and the rest of its line are looked at."""

_CUT_LINE_CHARS = 4
"""A shorter line is as likely a line of its own as the head of the one below."""

_MAX_ROUNDS = 8

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w")
_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Site:
    """What the rules may know about the place of a hole.

    Attributes:
        kind: How much text the hole may take up.
        before: The line before the cursor.
        tail: The line after the cursor.
        above: The nearest line above that is not blank, or ``None``.
        earlier: The lines above that are not blank, the nearest last.
        below: The next lines that are not blank.
        near: A stretch of the document that ends at the cursor.
        newline: The document's line break.
        language: The document's language.
    """

    kind: HoleKind
    before: str
    tail: str
    above: str | None
    earlier: tuple[str, ...]
    below: tuple[str, ...]
    near: str
    newline: str
    language: Language


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A candidate's text after the rules, and the names of those that changed it."""

    text: str
    rules: tuple[str, ...]


def site_of(snapshot: Snapshot, hole: Hole) -> Site:
    """Look at the surroundings of ``hole``."""
    parsed = snapshot.parsed
    line = parsed.lines.line(hole.offset)
    start, end = parsed.line_span(line)
    last = min(parsed.lines.count, line + 1 + 4 * _NEXT_LINES)
    first = max(-1, line - 1 - 4 * _NEXT_LINES)
    below = _telling_lines(parsed, range(line + 1, last))
    earlier = _telling_lines(parsed, range(line - 1, first, -1))
    near = parsed.lines.start(parsed.lines.line(max(0, hole.offset - _NEAR_CHARS)))
    return Site(
        kind=hole.kind,
        before=parsed.text[max(start, hole.offset - _NEAR_CHARS) : hole.offset],
        tail=parsed.text[hole.offset : max(hole.offset, min(end, hole.offset + _NEAR_CHARS))],
        above=earlier[0] if earlier else previous_line(parsed, line),
        earlier=earlier[::-1],
        below=below,
        near=parsed.text[max(near, hole.offset - 2 * _NEAR_CHARS) : hole.offset],
        newline=newline_of(parsed.text),
        language=snapshot.language,
    )


def _telling_lines(parsed: ParsedText, lines: range) -> tuple[str, ...]:
    """The first few of ``lines`` that are not blank."""
    texts = (parsed.line_text(line) for line in lines)
    return tuple(islice((text for text in texts if text.strip()), _NEXT_LINES))


def trim(raw: str, site: Site) -> Trimmed:
    """Apply every rule until none of them changes the text."""
    text = raw
    applied: list[str] = []
    for _ in range(_MAX_ROUNDS):
        before = text
        for name, rule in RULES:
            shorter = rule(text, site)
            if shorter != text and name not in applied:
                applied.append(name)
            text = shorter
        if text == before:
            break
    return Trimmed(text, tuple(applied))


def _line_endings(text: str, site: Site) -> str:
    """Line breaks as the document has them."""
    if site.newline == "\n" and "\r" not in text:
        return text
    return _NEWLINE.sub(site.newline, text)


def _double_indent(text: str, site: Site) -> str:
    """Blanks at the head of a line that is indented already."""
    if not site.before or site.before.strip() or not text[:1].isspace():
        return text
    deeper_is_right = (
        site.above is not None
        and opens_block(site.above, site.language)
        and indent_width(site.before) <= indent_width(site.above)
    )
    return text if deeper_is_right else text.lstrip(" \t")


def _too_many_lines(text: str, site: Site) -> str:
    """Lines beyond what the kind of hole allows."""
    most = max_lines(site.kind)
    if most is None:
        return text
    return site.newline.join(text.split(site.newline)[:most])


def _suffix_repeated(text: str, site: Site) -> str:
    """The rest of the line, from where the candidate says it again."""
    tail = site.tail.strip()
    if not tail or not text:
        return text
    tokens = _TOKEN.findall(tail)
    folded_tail = "".join(tail.split())
    line = text.split(site.newline, 1)[0]
    places = [at for at, char in enumerate(line) if not char.isspace()]
    folded = "".join(line[at] for at in places)
    depths = code_depths(line, site.language)
    at = folded.find(tokens[0])
    while at >= 0:
        rest = folded[at:]
        here = places[at]
        starts = depths[here] == 0 and _at_token(line, here)
        if starts and _overlaps(rest, folded_tail, tokens, site.language.quotes):
            cut = line[:here]
            return cut if site.tail[:1] == tail[0] else cut.rstrip(" \t")
        at = folded.find(tokens[0], at + 1)
    return text


def overlap_cuts(text: str, site: Site) -> list[str]:
    """Every way to end ``text`` before it says the rest of the line again, shortest first.

    Brackets, quotes and words are not looked at: a parser has to choose among these.
    """
    tail = "".join(site.tail.split())
    if not tail or site.newline in text:
        return []
    cuts: list[str] = []
    for at, char in enumerate(text):
        if char != tail[0]:
            continue
        rest = "".join(text[at:].split())
        if rest.startswith(tail) or tail.startswith(rest):
            cut = text[:at] if site.tail[0] == tail[0] else text[:at].rstrip(" \t")
            if cut.strip():
                cuts.append(cut)
    return cuts


def plain_cuts(text: str, site: Site) -> list[str]:
    """Where a one-line ``text`` says all the rest of the line: at its end, or first of all.

    Token borders and brackets are not looked at: a parser has to agree.
    """
    tail = site.tail.strip()
    if not tail or site.newline in text or (len(tail) == 1 and is_word(tail)):
        return []
    whole = text.rstrip()
    places = [len(whole) - len(tail)] if whole.endswith(tail) else []
    if len(_TOKEN.findall(tail)) > 1 and _WORD.search(tail):
        places.append(text.find(tail))
    elif tail.endswith(";"):
        # The statement ends there; not so inside the head of a loop or in a string.
        depths = code_depths(text, site.language)
        found = (hit.start() for hit in re.finditer(re.escape(tail), text))
        places.append(next((at for at in found if depths[at] == 0), -1))
    cuts = [text[:at] for at in places if at > 0]
    blank = not site.tail[0].isspace()
    return [cut if blank else cut.rstrip(" \t") for cut in cuts if cut.strip()]


def _overlaps(rest: str, tail: str, tokens: list[str], quotes: tuple[str, ...]) -> bool:
    """Whether ``rest``, the end of a candidate, says what the document's ``tail`` says."""
    whole = rest.startswith(tail)
    if not whole and not tail.startswith(rest):
        return False
    said = tail if whole else rest
    least = 2 if said[0] in quotes else 3
    if not _WORD.search(said) and len(said) < least:
        return False  # lone closers and operators: ``_closers_present`` counts them properly
    # One token alone is a repetition only where the candidate ends with it: in the middle it is
    # as likely a use of the same name.
    return len(rest) <= len(tail) or len(tokens) > 1


def _at_token(line: str, at: int) -> bool:
    if at == 0:
        return True
    return not (is_word(line[at]) and is_word(line[at - 1]))


def is_word(char: str) -> bool:
    """Whether a character is part of words."""
    return char.isalnum() or char == "_"


def _closers_present(text: str, site: Site) -> str:
    """Closing brackets at the end that the rest of the line has already."""
    tail = site.tail.strip()
    if not tail or not text.strip():
        return text
    end = _end_marks(text, tail, site)
    if end < len(text):
        return text[:end]
    unopened = balance(text, site.language).unopened
    present = balance(tail, site.language).unopened
    if not unopened or not present:
        return text
    unclosed = balance(site.near, site.language).unclosed
    spare = len(unclosed) - len(present)
    surplus = unopened[max(0, spare) :]
    if not surplus or surplus[0].char not in {bracket.char for bracket in present}:
        return text
    cut = surplus[0].offset
    rest = "".join(text[cut:].split())
    # Only what closes may follow: cutting through code would lose it.
    opens = any(open_ in rest for open_, _ in site.language.brackets)
    return text if opens or _WORD.search(rest) else text[:cut]


def _end_marks(text: str, tail: str, site: Site) -> int:
    """Where to cut one of ``;``, ``,``, ``:`` or a quote at the end that the tail begins with."""
    last = text.rstrip()[-1:]
    if last != tail[0] or last not in {";", ",", ":", *site.language.quotes}:
        return len(text)
    end = len(text.rstrip()) - 1
    if last in site.language.quotes:
        # The quote belongs to the candidate when it closes what the candidate opened.
        alone = balance(text, site.language).open_string == end
        return end if alone else len(text)
    return end


def _dedent(text: str, site: Site) -> str:
    """What follows the block that the hole stands in."""
    if site.kind is not HoleKind.BLOCK or site.newline not in text:
        return text
    after_opener = bool(site.before.strip())
    least = indent_width(site.before) + (1 if after_opener else 0)
    if not after_opener and not site.before:
        least = indent_width(text.split(site.newline, 1)[0])
    depths = code_depths(text, site.language)
    at = text.find(site.newline) + len(site.newline)
    seen = bool(text[:at].strip())
    while at < len(text):
        end = text.find(site.newline, at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        first = at + len(leading_blanks(line))
        if line.strip() and depths[first] == 0 and indent_width(line) < least:
            if not seen and not after_opener:
                return text
            closes = line.strip() == site.language.block_closer and after_opener
            return text[:end] if closes else text[:at].rstrip()
        seen = seen or bool(line.strip())
        at = end + len(site.newline)
    return text


def _next_lines_repeated(text: str, site: Site) -> str:
    """Last lines that the document goes on with anyway."""
    if not site.below or site.tail.strip() or site.newline not in text:
        return text
    lines = text.split(site.newline)
    for count in range(min(len(lines) - 1, len(site.below)), 0, -1):
        last = [line.rstrip() for line in lines[-count:]]
        if not _goes_on_as(last, [line.rstrip() for line in site.below[:count]]):
            continue
        kept = site.newline.join(lines[:-count])
        if any(_WORD.search(line) for line in last) and site.language.block_closer not in {
            line.strip() for line in last
        }:
            return kept
        # Closers alone are a repetition only if nothing in the candidate waits for them.
        if balance(text, site.language).unopened or not balance(kept, site.language).unclosed:
            return kept
    return text


def _goes_on_as(last: list[str], below: list[str]) -> bool:
    """Whether ``last`` are the lines ``below``, of which the final one may be cut short."""
    if last[:-1] != below[:-1]:
        return False
    return last[-1] == below[-1] or (
        len(last[-1].strip()) >= _CUT_LINE_CHARS and below[-1].startswith(last[-1])
    )


def _trailing_blanks(text: str, site: Site) -> str:
    """Blanks and empty lines at the end."""
    if site.tail.strip() and not site.tail[0].isspace() and is_word(site.tail[0]):
        return text  # the blank may be what keeps two words apart
    return text.rstrip()


Rule = Callable[[str, Site], str]

RULES: tuple[tuple[str, Rule], ...] = (
    ("line_endings", _line_endings),
    ("double_indent", _double_indent),
    ("too_many_lines", _too_many_lines),
    ("suffix_repeated", _suffix_repeated),
    ("closers_present", _closers_present),
    ("dedent", _dedent),
    ("next_lines_repeated", _next_lines_repeated),
    ("trailing_blanks", _trailing_blanks),
)
"""The rules in the order they run; each name may appear in ``Verdict.trimmed``."""


def newline_of(text: str) -> str:
    """The line break a text is written with."""
    at = text.find("\n")
    if at < 0:
        return "\r" if "\r" in text else "\n"
    return "\r\n" if at and text[at - 1] == "\r" else "\n"
