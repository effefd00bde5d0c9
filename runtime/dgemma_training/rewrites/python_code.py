"""Comparing pieces of Python: by syntax tree where they parse, else by tokens.

Formatting, quotes, redundant parentheses and trailing commas make no difference; comments do.
Knows neither kinds nor rewrites.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Callable

_BLANK = frozenset({tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER, tokenize.COMMENT})
_CLOSING = frozenset(")]}")
_OPEN = "<open bracket>"
_OPENERS = {"elif": "if 1: pass\n", "else": "if 1: pass\n"} | dict.fromkeys(
    ("except", "finally"), "try: pass\n"
)

Normal = Callable[[ast.Module], ast.Module]


def parsed(text: str) -> ast.Module | None:
    """The syntax tree of a text, or ``None``."""
    try:
        with warnings.catch_warnings():
            # Real code has stray backslashes in its strings.
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def indent_of(text: str) -> str:
    """The blanks before a text's first line that is not blank."""
    for line in text.split("\n"):
        if line.strip():
            return line[: len(line) - len(line.lstrip())]
    return ""


def _prelude(text: str) -> str:
    """Headers that make the indentation of lines cut out of a text a legal one."""
    lines = [line for line in text.split("\n") if line.strip()]
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    outer = sorted({indent for indent in indents if len(indent) < len(indents[0])}, key=len)
    if lines and indents[0] and not (outer and outer[0] == ""):
        outer.insert(0, "")
    return "".join(f"{indent}if 1:\n" for indent in outer)


def parsed_fragment(text: str) -> tuple[ast.Module, bool] | None:
    """The tree of whole lines cut out of a text, and whether a missing body was put in."""
    words = text.split(None, 1)
    opener = _OPENERS.get(words[0].rstrip(":"), "") if words else ""
    if opener:
        opener = indent_of(text) + opener
    opener = _prelude(text) + opener
    tree = parsed(opener + text + "\n")
    if tree is not None:
        return tree, False
    deeper = max((line[: len(line) - len(line.lstrip())] for line in text.split("\n")), key=len)
    tree = parsed(f"{opener}{text}\n{deeper} pass\n")
    return None if tree is None else (tree, True)


def tokens(text: str) -> list[str] | None:
    """The tokens of a fragment without comments; ``None`` where it is broken."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(_prelude(text) + text).readline):
            if token.type in _BLANK:
                continue
            if token.type == tokenize.ERRORTOKEN and not token.string.strip():
                continue
            if token.string in _CLOSING and found and found[-1] == ",":
                # A trailing comma makes a tuple where nothing but one item is in the brackets,
                # and the tokens alone cannot say; trees are compared first.
                found.pop()
            found.append(_spelt(token))
    except tokenize.TokenError as error:
        # A line within brackets goes on in the text around it; a string that does not end is lost.
        return [*found, _OPEN] if "statement" in str(error.args[0]) else None
    except SyntaxError:
        return None
    return found


def _spelt(token: tokenize.TokenInfo) -> str:
    if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE):
        return tokenize.tok_name[token.type]
    if token.type == tokenize.STRING:
        tree = parsed(token.string)
        return token.string if tree is None else ast.dump(tree)
    return token.string


def comments(text: str) -> list[str]:
    """The comments of a fragment, up to where it is broken."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(_prelude(text) + text).readline):
            if token.type == tokenize.COMMENT:
                found.append(" ".join(token.string.split()))
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def same_tree(one: ast.Module, other: ast.Module, normal: Normal | None = None) -> bool:
    """Whether two trees are equal, after ``normal`` has been applied to both."""
    if normal is not None:
        one, other = normal(one), normal(other)
    return ast.dump(one) == ast.dump(other)


def same_fragment(one: str, other: str, normal: Normal | None = None) -> bool:
    """Whether two runs of whole lines are the same code at the same indentation."""
    if one == other:
        return True
    if indent_of(one) != indent_of(other):
        return False
    if ("#" in one or "#" in other) and comments(one) != comments(other):
        return False
    left, right = parsed_fragment(one), parsed_fragment(other)
    if left is not None and right is not None:
        return left[1] == right[1] and same_tree(left[0], right[0], normal)
    if left is not None or right is not None:
        return False
    here, there = tokens(one), tokens(other)
    return here is not None and here == there
