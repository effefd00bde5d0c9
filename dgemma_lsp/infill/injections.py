"""The language inside another: fences and front matter of Markdown, scripts and styles of HTML.

Found by lines and tags, not by a tree: a fence that was just opened is the usual case, and there a
tree takes in all the rest of the document. One pass over the text up to the offset; the inner text
is a plain stretch of the outer one, so offsets differ by a constant. How the inner text is judged
is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.languages import GENERIC, Language, by_name
from dgemma_lsp.syntax.tree import ParsedText

_MAX_DEPTH = 3
"""A script in a page in a fence is the deepest that makes sense."""

_TAB = 4
"""Columns of a tab, as CommonMark has it."""

_LIST_LINES = 200
"""How far above a fence its list item is looked for."""

_FENCE = re.compile(
    r"^(?P<lead>[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(?P<marks>`{3,}|~{3,})(?P<info>[^\r\n]*)",
    re.MULTILINE,
)
_INFO = re.compile(r"[ \t]*\{?[ \t]*\.?(?P<name>[\w+#-]+)")
_LIST_ITEM = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)+")
_FRONT_MATTER = re.compile(r"(?P<mark>---|\+\+\+)[ \t]*\r?\n")
_FRONT_MATTER_LANGUAGE = {"---": "yaml", "+++": "toml"}
_BLANK_LINE = re.compile(r"^[ \t]*\r?$", re.MULTILINE)

_ATTRIBUTES = r"(?:\"[^\"]*\"|'[^']*'|[^'\">])*"
_RAW_ELEMENT = re.compile(
    rf"<!--.*?(?:-->|\Z)|<(?P<tag>script|style)(?P<attributes>(?:\s{_ATTRIBUTES})?)>",
    re.DOTALL | re.IGNORECASE,
)
_TYPE = re.compile(r"\b(?:type|lang)\s*=\s*(?P<quote>[\"']?)(?P<value>[^\"'\s>]*)", re.IGNORECASE)
_TAG_LINE = re.compile(r"^[ \t]*</?(?:script|style|head|body|html|div)\b", re.MULTILINE)
_TYPES = {
    ("script", ""): "javascript",
    ("script", "module"): "javascript",
    ("script", "text/javascript"): "javascript",
    ("script", "application/javascript"): "javascript",
    ("script", "text/babel"): "javascript",
    ("script", "text/jsx"): "javascript",
    ("script", "ts"): "typescript",
    ("script", "text/typescript"): "typescript",
    ("script", "tsx"): "typescriptreact",
    ("script", "importmap"): "json",
    ("script", "speculationrules"): "json",
    ("script", "application/json"): "json",
    ("script", "application/ld+json"): "json",
    ("style", ""): "css",
    ("style", "text/css"): "css",
    ("style", "css"): "css",
}
"""Tag and its type to an LSP language identifier; other types are templates and the like."""


@dataclass(frozen=True, slots=True)
class _Content:
    """A stretch of text in a language of its own; ``end`` is where its closing mark starts."""

    start: int
    end: int
    language: Language


def inner(snapshot: Snapshot, offset: int) -> tuple[Snapshot, int]:
    """The document as the language at ``offset`` sees it.

    Returns:
        A snapshot of the inner text in its language, and the offset of that text in the document
        given; that document itself and 0 where no other known language stands at ``offset``. The
        inner text has the document's own lines, so a fence in a list keeps its indentation.
    """
    base = 0
    for _ in range(_MAX_DEPTH):
        find = _FINDERS.get(snapshot.language.name)
        content = None if find is None else find(snapshot.text, offset - base)
        if content is None or content.language is GENERIC:
            break
        parsed = ParsedText(
            snapshot.text[content.start : content.end], content.language.usable_grammar()
        )
        snapshot = Snapshot(snapshot.uri, snapshot.version, parsed, content.language)
        base += content.start
    return snapshot, base


# -- Markdown -------------------------------------------------------------------------------------


def _in_markdown(text: str, offset: int) -> _Content | None:
    at = 0
    head = _FRONT_MATTER.match(text)
    if head is not None:
        mark = head["mark"]
        close = re.compile(rf"^{re.escape(mark)}[ \t]*\r?$", re.MULTILINE).search(text, head.end())
        if close is not None:
            if head.end() <= offset < close.start():
                language = by_name(_FRONT_MATTER_LANGUAGE[mark])
                return _Content(head.end(), close.start(), language)
            at = close.end()
    while (fence := _FENCE.search(text, at)) is not None and fence.start() <= offset:
        start = text.find("\n", fence.end()) + 1
        if start == 0 or start > offset:
            return None
        if not _opens(text, fence):
            at = start
            continue
        end, closed, at = _fence_end(text, fence, start)
        if offset < end or (offset == end == len(text) and not closed):
            if not closed:
                end = _end_of_part(text, start, offset, end)
            return _Content(start, end, _fence_language(fence["info"]))
    return None


def _opens(text: str, fence: re.Match[str]) -> bool:
    """Whether a line of fence marks opens a fence rather than being text."""
    if fence["marks"][0] == "`" and "`" in fence["info"]:
        return False  # code within a line
    # Four columns are an indented code block, unless a list is what indents it.
    return _columns(fence["lead"]) < _TAB or _list_column(text, fence) is not None


def _list_column(text: str, fence: re.Match[str]) -> int | None:
    """The column at which the list item that holds a fence has its text; ``None`` without one."""
    column = _columns(fence["lead"])
    if fence["lead"].strip():
        return column
    least, end = column, fence.start()
    for _ in range(_LIST_LINES):
        if end == 0 or least == 0:
            break
        start = text.rfind("\n", 0, end - 1) + 1
        line, end = text[start:end], start
        width = _columns(line[: len(line) - len(line.lstrip(" \t"))])
        if not line.strip() or width >= least:
            continue
        item = _LIST_ITEM.match(line)
        if item is not None and _columns(item.group()) <= column < _columns(item.group()) + _TAB:
            return _columns(item.group())
        least = width
    return None


def _fence_end(text: str, fence: re.Match[str], start: int) -> tuple[int, bool, int]:
    """Where the content of a fence ends, whether its end is there, and where to go on."""
    marks = fence["marks"]
    limit = len(text)
    column = _list_column(text, fence)
    if column:
        outdented = re.compile(rf"^[ ]{{0,{column - 1}}}[^\s]", re.MULTILINE).search(text, start)
        limit = limit if outdented is None else outdented.start()
    for found in _FENCE.finditer(text, start, limit):
        if found["marks"][0] != marks[0] or len(found["marks"]) < len(marks):
            continue
        if not found["info"].strip() and not found["lead"].strip():
            return found.start(), True, found.end()
        if _opens(text, found) and _INFO.match(found["info"]) is not None:
            return found.start(), False, found.start()  # the next fence: this one has no end yet
    # The end of a list item ends what it holds.
    return limit, limit < len(text), limit


def _fence_language(info: str) -> Language:
    found = _INFO.match(info)
    return GENERIC if found is None else by_name(found["name"])


def _columns(blanks: str) -> int:
    return len(blanks.expandtabs(_TAB))


# -- HTML -----------------------------------------------------------------------------------------


def _in_html(text: str, offset: int) -> _Content | None:
    at = 0
    while (found := _RAW_ELEMENT.search(text, at)) is not None and found.start() < offset:
        tag = found["tag"]
        at = found.end()
        if tag is None:
            continue
        if offset < at:
            return None
        close = re.compile(rf"</{tag}(?=[\s/>]|\Z)", re.IGNORECASE).search(text, at)
        end = len(text) if close is None else close.start()
        if offset <= end:
            if close is None:
                end = _end_of_part(text, at, offset, end)
            return _Content(at, end, _element_language(tag.lower(), found["attributes"]))
        at = end
    return None


def _element_language(tag: str, attributes: str) -> Language:
    found = _TYPE.search(attributes)
    kind = "" if found is None else found["value"].lower()
    name = _TYPES.get((tag, kind))
    return GENERIC if name is None else by_name(name)


# -- both -----------------------------------------------------------------------------------------


def _end_of_part(text: str, start: int, offset: int, end: int) -> int:
    """Where to end a content that nothing ends yet: what follows it is of the outer language.

    At the first line after the one of ``offset`` that is blank or has a tag of the page's frame.
    """
    after = text.find("\n", max(start, offset), end) + 1
    if after == 0:
        return end
    stops = [_BLANK_LINE.search(text, after, end), _TAG_LINE.search(text, after, end)]
    return min((found.start() for found in stops if found is not None), default=end)


_FINDERS = {"markdown": _in_markdown, "html": _in_html}
