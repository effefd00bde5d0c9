"""Marks of Markdown within one paragraph that open something and do not close it.

Follows CommonMark in what runs of ``*`` and ``_`` can open and close, and is content with less
elsewhere. Knows no document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\\.|`+|\*+|_+|[\[\]()]|<[^<>\s]+>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that is left open, where it starts, and what would close it."""

    start: int
    text: str
    closer: str


@dataclass(slots=True)
class _Run:
    start: int
    char: str
    count: int
    opens: bool
    closes: bool


def open_marks(text: str) -> list[Mark]:
    """Return what is left open in a paragraph, in order of place."""
    found: list[Mark] = []
    runs: list[_Run] = []
    brackets: list[tuple[int, str]] = []
    at = 0
    while (token := _TOKEN.search(text, at)) is not None:
        said, at = token.group(), token.end()
        if said[0] == "`":
            end = _end_of_code(text, token)
            if end is None:
                found.append(Mark(token.start(), said, said))
            else:
                at = end
        elif said[0] in "*_":
            runs.append(_run(text, token))
        elif said == "[":
            brackets.append((token.start(), "["))
        elif said == "(" and text[token.start() - 1 : token.start()] == "]":
            at = _end_of_target(text, at)
            if at < 0:
                found.append(Mark(token.start(), "(", ")"))
                break
        elif said == "(":
            brackets.append((token.start(), "("))
        elif said in "])":
            _close(brackets, said)
    found.extend(Mark(start, char, "]") for start, char in brackets if char == "[")
    found.extend(_open_runs(runs))
    return sorted(found, key=lambda mark: mark.start)


def _close(brackets: list[tuple[int, str]], closer: str) -> None:
    if not brackets:
        return
    opener = "[" if closer == "]" else "("
    if brackets[-1][1] == opener or closer == ")":
        brackets.pop()  # a half-open interval is closed by the other bracket
        return
    held = [at for at, one in enumerate(brackets) if one[1] == opener]
    if held:
        del brackets[held[-1] :]


def _end_of_code(text: str, token: re.Match[str]) -> int | None:
    run = token.group()
    found = re.compile(rf"(?<!`){run}(?!`)").search(text, token.end())
    return None if found is None else found.end()


def _end_of_target(text: str, at: int) -> int:
    """Where the address of a link ends, behind its bracket; -1 when it does not."""
    depth = 1
    for found in re.finditer(r"\\.|[()]", text[at:]):
        depth += {"(": 1, ")": -1}.get(found.group(), 0)
        if depth == 0:
            return at + found.end()
    return -1


def _run(text: str, token: re.Match[str]) -> _Run:
    before = text[token.start() - 1 : token.start()] if token.start() else " "
    after = text[token.end() : token.end() + 1] or " "
    left = not after.isspace() and (after.isalnum() or not before.isalnum())
    right = not before.isspace() and (before.isalnum() or not after.isalnum())
    char = token.group()[0]
    if char == "_":  # within a word it is a letter
        left, right = left and not before.isalnum(), right and not after.isalnum()
    return _Run(token.start(), char, len(token.group()), left, right)


def _open_runs(runs: list[_Run]) -> list[Mark]:
    """Runs that open emphasis and find no end; single ones that may be meant as letters pass."""
    waiting: list[_Run] = []
    for run in runs:
        while run.closes and run.count:
            opener = next((one for one in reversed(waiting) if one.char == run.char), None)
            if opener is None:
                break
            used = min(2, opener.count, run.count)
            opener.count -= used
            run.count -= used
            del waiting[waiting.index(opener) + 1 :]
            if not opener.count:
                waiting.remove(opener)
        if run.opens and run.count:
            waiting.append(run)
    return [
        Mark(run.start, run.char * run.count, run.char * run.count)
        for run in waiting
        if run.count < 4 and (run.count > 1 or run.char == "*")
    ]
