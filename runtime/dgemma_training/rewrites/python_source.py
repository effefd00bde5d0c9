"""A Python text with its syntax tree, in character offsets; helpers the Python kinds share.

Nodes inside f-strings are left out: before Python 3.12 their positions are not to be relied on.
Knows no kind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TypeVar

from dgemma_training.rewrites.base import Edit, Rows
from dgemma_training.rewrites.python_code import parsed, same_fragment

_Node = TypeVar("_Node", bound=ast.AST)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_COMPOUND = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


class PythonSource:
    """One parsed Python text; ``of`` makes it."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.tree = tree
        self._nodes: dict[type[ast.AST], list[ast.AST]] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._blocks: list[list[ast.stmt]] = []
        self._ascii = text.isascii()
        self._walk()
        self._tidy_rows: Rows | None = None
        self._units: list[tuple[int, int]] | None = None
        self._lines = Rows(text, ())

    @staticmethod
    def of(text: str) -> PythonSource | None:
        """Parse a text; ``None`` where it does not parse or lines are ended in other ways."""
        if "\r" in text or "\f" in text:
            return None
        tree = parsed(text)
        return None if tree is None else PythonSource(text, tree)

    def _walk(self) -> None:
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            self._nodes.setdefault(type(node), []).append(node)
            if isinstance(node, ast.JoinedStr):
                continue
            for _, value in ast.iter_fields(node):
                if isinstance(value, ast.AST):
                    self._parents[value] = node
                    stack.append(value)
                elif isinstance(value, list):
                    items = [item for item in value if isinstance(item, ast.AST)]
                    for item in items:
                        self._parents[item] = node
                    stack.extend(items)
                    block = [item for item in items if isinstance(item, ast.stmt)]
                    if block:
                        self._blocks.append(block)

    # -- nodes --------------------------------------------------------------------------------

    def all(self, node_type: type[_Node]) -> list[_Node]:
        """Every node of exactly this type, in no particular order."""
        return [node for node in self._nodes.get(node_type, ()) if isinstance(node, node_type)]

    def functions(self) -> list[FunctionNode]:
        """Every function, async or not."""
        return [*self.all(ast.FunctionDef), *self.all(ast.AsyncFunctionDef)]

    @property
    def blocks(self) -> Sequence[Sequence[ast.stmt]]:
        """Every list of statements."""
        return self._blocks

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that holds a node."""
        return self._parents.get(node)

    def function_of(self, node: ast.AST) -> FunctionNode | None:
        """The innermost function around a node."""
        at = self._parents.get(node)
        while at is not None and not isinstance(at, FunctionNode):
            at = self._parents.get(at)
        return at

    # -- places -------------------------------------------------------------------------------

    def offset(self, line: int, column: int) -> int:
        """Character offset of a line from 1 and a column in UTF-8 bytes, as ``ast`` has them."""
        start = self._lines.start(line - 1)
        if self._ascii:
            return start + column
        content = self._lines.line(line - 1)
        if content.isascii():
            return start + column
        return start + len(content.encode()[:column].decode(errors="ignore"))

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> tuple[int, int]:
        """Start and end of a node; a decorated function starts at its first decorator."""
        line, column = node.lineno, node.col_offset
        if isinstance(node, FunctionNode | ast.ClassDef) and node.decorator_list:
            line = _first_line(node)
            content = self._lines.line(line - 1)
            column = len(content) - len(content.lstrip())
        end_line, end_column = node.end_lineno or line, node.end_col_offset or column
        return self.offset(line, column), self.offset(end_line, end_column)

    def segment(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> str:
        """A node's source."""
        start, end = self.span(node)
        return self.text[start:end]

    def edit(self, node: ast.expr | ast.stmt | ast.arg, new: str, *, undoes: bool = False) -> Edit:
        """The edit that puts ``new`` in the place of a node."""
        return Edit(*self.span(node), new, undoes)

    def one_line(self, node: ast.expr | ast.stmt) -> bool:
        """Whether a node is on one line."""
        return node.lineno == node.end_lineno

    def indent(self, node: ast.stmt) -> str:
        """The blanks before a statement that starts a line."""
        return self.text[self._lines.start(node.lineno - 1) : self.span(node)[0]]

    def step(self) -> str:
        """The indentation of one level: the first that the text uses."""
        for block in self._blocks:
            parent = self._parents.get(block[0])
            if isinstance(parent, ast.stmt) and block[0].lineno > parent.lineno:
                inner, outer = self.indent(block[0]), self.indent(parent)
                if inner.startswith(outer) and not inner.strip() and inner != outer:
                    return inner[len(outer) :]
        return "    "

    def alone(self, *statements: ast.stmt) -> bool:
        """Whether statements have their lines to themselves and hold no comment.

        Such statements can be put together anew without losing anything.
        """
        low, high = self.span(statements[0])[0], self.span(statements[-1])[1]
        first, last = self._lines.line_at(low), self._lines.line_at(high)
        head = self.text[self._lines.start(first) : low]
        tail = self.text[high : self._lines.end(last)]
        return not head.strip() and not tail.strip() and "#" not in self.text[low:high]

    def block_span(self, *statements: ast.stmt) -> tuple[int, int]:
        """From the first column of the first statement's line to the end of the last."""
        start, end = self.span(statements[0])[0], self.span(statements[-1])[1]
        return self._lines.start(self._lines.line_at(start)), end

    def head_end(self, node: ast.stmt) -> int:
        """Offset after the header of a compound statement: the end of the colon's line.

        The body must start on a later line.
        """
        return self._lines.end(self._head_line(node))

    def _head_line(self, node: ast.stmt) -> int:
        """The last line of a statement's header, from 0; its last line if it has no body."""
        if not isinstance(node, _COMPOUND):
            return (node.end_lineno or node.lineno) - 1
        inner = node.cases[0].pattern if isinstance(node, ast.Match) else node.body[0]
        line = _first_line(inner)
        at = max(line - 2, node.lineno - 1)
        while at > node.lineno - 1:
            content = self._lines.line(at).strip()
            if content and not content.startswith("#"):
                break
            at -= 1
        return at

    @property
    def rows(self) -> Rows:
        """Logical lines: simple statements and the headers of compound ones."""
        if self._tidy_rows is None:
            spans = [
                (node.lineno - 1, self._head_line(node)) for block in self._blocks for node in block
            ]
            self._tidy_rows = Rows(self.text, [span for span in spans if span[0] < span[1]])
        return self._tidy_rows

    # -- checks -------------------------------------------------------------------------------

    def valid(self, start: int, end: int, new: str) -> bool:
        """Whether the text still parses with ``new`` in the place of whole lines.

        Only the innermost function around them is parsed, or the statements they touch.
        """
        if self.text[start:end] == new:
            return True
        first, last = self._lines.line_at(start) + 1, self._lines.line_at(end) + 1
        low, high = self._unit(first, last)
        head = self.text[self._lines.start(low - 1) : start]
        tail = self.text[end : self._lines.end(high - 1)]
        piece = head + new + tail
        if piece[:1] in " \t":
            piece = "if 1:\n" + piece
        return parsed(piece + "\n") is not None

    def _unit(self, first: int, last: int) -> tuple[int, int]:
        if self._units is None:
            spans = [
                (_first_line(node), node.end_lineno or node.lineno)
                for node in self.functions()
                if self._own_lines(node)
            ]
            self._units = sorted(spans, key=lambda span: span[1] - span[0])
        for low, high in self._units:
            if low <= first and last <= high:
                return low, high
        low, high = first, last
        for statement in self.tree.body:
            top = _first_line(statement)
            bottom = statement.end_lineno or top
            if top <= last and first <= bottom:
                low, high = min(low, top), max(high, bottom)
        return low, high

    def _own_lines(self, node: ast.stmt) -> bool:
        start, end = self.span(node)
        head = self.text[self._lines.start(self._lines.line_at(start)) : start]
        tail = self.text[end : self._lines.end(self._lines.line_at(end))]
        return not head.strip() and (not tail.strip() or tail.lstrip().startswith("#"))

    def same(self, one: str, other: str) -> bool:
        """Whether two fragments are the same code but for formatting."""
        return same_fragment(one, other)


def _first_line(node: ast.stmt | ast.pattern) -> int:
    """The line a node starts on, from 1; a decorated one starts at its first decorator."""
    if isinstance(node, FunctionNode | ast.ClassDef):
        return min((decorator.lineno for decorator in node.decorator_list), default=node.lineno)
    return node.lineno


def names_in(node: ast.AST) -> Iterator[ast.Name]:
    """Every name used in a node, nodes inside f-strings among them."""
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Name))
