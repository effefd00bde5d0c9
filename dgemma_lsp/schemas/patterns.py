"""Which regular expressions of a schema can be used: those that compile, and fail in short time.

Python's matcher tries every way to split a text among nested repetitions, which can take for ever
on a dozen characters. A schema comes with the code that is opened, so such patterns are left out.
"""

from __future__ import annotations

import re

MAX_MATCHED = 256
"""Longer strings are not matched: even sound patterns may take the cube of the length."""

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUP = re.compile(r"\((?:\?[:=!]|\?<[=!]|\?P<\w+>)?([^()]*)\)([*+]|\{\d)?")

_LIST_ITEM = re.compile(
    r"""\((?:\?:)?
        (?:(?P<lead>\\?[-.,:;/_@+\x20])(?P<class>\[[^\]\\]*\]|\\[dw])(?:[*+]|\{\d+,?\d*\})
          |(?P<class2>\[[^\]\\]*\]|\\[dw])(?:[*+]|\{\d+,?\d*\})(?P<trail>\\?[-.,:;/_@+\x20])
        )\)""",
    re.VERBOSE,
)
"""A repeated word and its separator, as in version numbers."""

_VARYING = re.compile(r"[*+|]|\{\d+,")


def usable(pattern: object) -> bool:
    """Whether the library may be given a pattern."""
    if not isinstance(pattern, str) or _nests(pattern):
        return False
    try:
        re.compile(f"x|{pattern}")  # the library joins several in this way
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _nests(pattern: str) -> bool:
    """Whether a repetition or an alternative stands within a repetition."""
    flat = _LIST_ITEM.sub(_item, pattern)
    flat = _ESCAPED.sub("x", _CLASS.sub("x", flat))
    while (found := _GROUP.search(flat)) is not None:
        varies = _VARYING.search(found[1]) is not None
        if varies and found[2]:
            return True
        # What varies in a group varies in the groups around it.
        left = f"x{'*' if varies else ''}"
        flat = flat[: found.start()] + left + (found[2] or "") + flat[found.end() :]
    return False


def _item(found: re.Match[str]) -> str:
    separator = found["lead"] or found["trail"]
    word = found["class"] or found["class2"]
    try:
        apart = re.match(word, separator[-1]) is None
    except re.error:
        apart = False
    # Words that cannot hold their separator can be split in one way only.
    return "x" if apart and separator != "." else found[0]
