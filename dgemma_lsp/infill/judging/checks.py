"""What can be wrong with a candidate beyond syntax: small checks, each a function with a name.

A check takes a candidate with its surroundings and returns the faults it finds, as ranges of the
candidate's text. Every check was run over real code, where it has to be silent. Checks that need a
tree are in ``checks_tree``; which ones run, and what follows from a fault, is ``judge``'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from dgemma_lsp.infill.trim import Site, is_word
from dgemma_lsp.infill.types import Fault, FaultPlace, RejectReason
from dgemma_lsp.syntax.brackets import balance
from dgemma_lsp.syntax.scope import leading_blanks

_RUN = 3
"""So many times the same line running is a loop."""

_GRAMS = 4
"""So many times the same few tokens running is a loop; a list may repeat more often."""

_LIST_GRAMS = 12

_GRAM_TOKENS = 6
"""Tokens of the longest group whose repetition is looked for."""

_LOOKED_AT = 2_000
"""Characters of one line, and lines of a text, that loops are looked for in."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_NAME = re.compile(r"[^\W\d]\w*")
_LETTER = re.compile(r"[^\W\d_]")
_ESCAPES = frozenset("\\%&")


def blank(text: str) -> tuple[Fault, ...]:
    """A text that says nothing."""
    return () if text.strip() else (Fault(RejectReason.EMPTY, 0, len(text)),)


def repeats_line(text: str, site: Site) -> tuple[Fault, ...]:
    """The finished line says nothing but what the line above or below says."""
    said = _said(text, site)
    if len(said) != 1:
        return ()
    letters = "".join(char for char in said[0] if char.isalnum())
    if letters in ("", "endif", site.language.block_closer):
        return ()  # `})` and `end)` may well follow each other
    own = text.strip()
    if 2 * len(own) < len(said[0]):
        return ()  # most of the line is the user's
    around = (site.above, site.below[0] if site.below else None)
    # The candidate by itself counts too: a statement pasted behind another one.
    if any(line is not None and line.strip() in (said[0], own) for line in around):
        return (_whole(RejectReason.REPEATS_LINE, text),)
    return ()


def repeats_lines(text: str, site: Site) -> tuple[Fault, ...]:
    """Several finished lines are those above or below, or begin with those above."""
    said = _said(text, site)
    count = len(said)
    if count < 2:
        return ()
    below = [line.strip() for line in site.below[:count]]
    earlier = [line.strip() for line in site.earlier]
    if said == below and _tells(said, site):
        return (_whole(RejectReason.REPEATS_LINE, text),)
    for head in range(count, 1, -1):
        if said[:head] == earlier[-head:] and _tells(said[:head], site):
            return (_whole(RejectReason.REPEATS_LINE, text),)
    return ()


def repeats_itself(text: str, site: Site) -> tuple[Fault, ...]:
    """The same line several times running, where the document does nothing of the kind."""
    faults: list[Fault] = []
    run = 1
    before: str | None = None
    for start, end, line in _lines(text, site.newline)[:_LOOKED_AT]:
        said = line.strip()
        if not said:
            continue
        run = run + 1 if said == before else 1
        before = said
        if run == _RUN and _LETTER.search(said) and not _runs_around(site):
            faults.append(Fault(RejectReason.REPEATS_ITSELF, start, end))
    return tuple(faults)


def stutters(text: str, site: Site) -> tuple[Fault, ...]:
    """The same few tokens many times running within a line, such as ``self.self.self.self.``."""
    for start, _, line in _lines(text, site.newline)[:_LOOKED_AT]:
        found = _stutter(line[:_LOOKED_AT])
        if found is not None and not _stutters_around(site):
            return (Fault(RejectReason.REPEATS_ITSELF, start + found[0], start + found[1]),)
    return ()


def runs_into_word(text: str, site: Site) -> tuple[Fault, ...]:
    """The end of the text grows together with a name behind it.

    A name of the document that would only stand there apart is what gives it away. Inside a word
    the last part belongs to whatever is written there.
    """
    if not (text and site.tail and is_word(text[-1]) and is_word(site.tail[0])):
        return ()
    if site.before and is_word(site.before[-1]):
        return ()
    last = _last_word(text)
    name = _first_word(site.tail)
    if _LETTER.search(name) is None:
        return ()
    around = f"{site.near} {site.tail[len(name) :]} {' '.join(site.below)}"
    names = set(_NAME.findall(around))
    if name not in names or last + name in names:
        return ()
    return (Fault(RejectReason.BAD_SEAM, len(text) - len(last), len(text)),)


def says_closers_again(text: str, site: Site) -> tuple[Fault, ...]:
    """Closing brackets at the end that the rest of the line has, and nothing waits for both.

    Only worth a look where something is wrong: whether a bracket is one too many is for a parser
    to say.
    """
    present = balance(site.tail, site.language).unopened
    unopened = balance(text, site.language).unopened
    if not present or not unopened or unopened[-1].char != present[0].char:
        return ()
    at = unopened[-1].offset
    if re.search(r"[\w'\"`]", text[at:]):
        return ()
    return (Fault(RejectReason.REPEATS_SUFFIX, at, len(text.rstrip())),)


def mixes_tabs(text: str, site: Site) -> tuple[Fault, ...]:
    """Lines indented with tabs among lines indented with spaces, or the other way round."""
    style = _indent_style(site)
    if style == "":
        return ()
    faults: list[Fault] = []
    for start, _, line in _lines(text, site.newline)[1:]:
        blanks = leading_blanks(line)
        if blanks and line.strip() and _style_of(blanks) not in ("", style):
            faults.append(Fault(RejectReason.WRONG_INDENT, start, start + len(blanks)))
    return tuple(faults[:1])


# -- parts --------------------------------------------------------------------------------------


def _whole(reason: RejectReason, text: str) -> Fault:
    return Fault(reason, 0, len(text), FaultPlace.INSIDE)


def _said(text: str, site: Site) -> list[str]:
    """The finished lines that say something, without the blanks at their ends."""
    lines = f"{site.before}{text}{site.tail}".split(site.newline)
    return [line.strip() for line in lines if line.strip()]


def _tells(lines: list[str], site: Site) -> bool:
    """Whether lines are worth calling a repetition: two of them have more to say than closers."""
    telling = {
        line
        for line in lines
        if len(_LETTER.findall(line)) > 3 and line != site.language.block_closer
    }
    return len(telling) >= 2


def _lines(text: str, newline: str) -> list[tuple[int, int, str]]:
    """Start, end and text of each line."""
    found: list[tuple[int, int, str]] = []
    at = 0
    for line in text.split(newline):
        found.append((at, at + len(line), line))
        at += len(line) + len(newline)
    return found


def _runs_around(site: Site) -> bool:
    """Whether the document nearby has a line several times running, as data has."""
    for lines in (site.earlier, site.below):
        said = [line.strip() for line in lines]
        for one, two in pairwise(said):
            if one == two and _LETTER.search(one):
                return True
    return False


def _stutters_around(site: Site) -> bool:
    lines = (site.before, site.tail, *site.earlier[-4:], *site.below[:4])
    return any(_stutter(line[:_LOOKED_AT]) is not None for line in lines)


def _stutter(line: str) -> tuple[int, int] | None:
    """Where a line says the same few tokens again and again."""
    places = [found.span() for found in _TOKEN.finditer(line)]
    tokens = [line[start:end] for start, end in places]
    for size in range(1, _GRAM_TOKENS + 1):
        same = 0
        for at in range(size, len(tokens)):
            same = same + 1 if tokens[at] == tokens[at - size] else 0
            if same and same % size == 0:
                gram = tokens[at - size + 1 : at + 1]
                if same // size + 1 >= _most(gram):
                    return places[at - same - size + 1][0], places[at][1]
    return None


def _most(gram: list[str]) -> int:
    """So many of a group running are a loop; a number no line reaches where they never are."""
    words = [token for token in gram if _LETTER.search(token)]
    if not words or _ESCAPES.intersection(gram):
        return _LOOKED_AT
    if "," in gram or ";" in gram:
        return _LIST_GRAMS
    if all(len(word) < 2 for word in words):
        return 2 * _GRAMS
    return _GRAMS


def _last_word(text: str) -> str:
    at = len(text)
    while at and is_word(text[at - 1]):
        at -= 1
    return text[at:]


def _first_word(text: str) -> str:
    at = 0
    while at < len(text) and is_word(text[at]):
        at += 1
    return text[:at]


def _indent_style(site: Site) -> str:
    """The one character that the lines around are indented with; empty when it cannot be told."""
    lines = (*site.earlier, *site.below)
    styles = {_style_of(leading_blanks(line)) for line in _indented(lines)}
    return styles.pop() if len(styles) == 1 else ""


def _indented(lines: tuple[str, ...]) -> Iterator[str]:
    # The lines of a comment are aligned, not indented.
    return (line for line in lines if line[:1] in (" ", "\t") and line.lstrip()[:1] != "*")


def _style_of(blanks: str) -> str:
    """The character of an indentation; empty for a mixture, which alignment can ask for."""
    kinds = set(blanks)
    return kinds.pop() if len(kinds) == 1 else ""
