"""A JavaScript or TypeScript text with its syntax tree, in character offsets.

Knows no kind.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tree_sitter import Node

from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.rewrites.base import Edit, Rows
from dgemma_training.rewrites.script_code import tokens

LANGUAGES = ("javascript", "javascriptreact", "typescript", "typescriptreact")
TYPED = ("typescript", "typescriptreact")

FUNCTIONS = frozenset(
    {
        "function_declaration",
        "function_expression",
        "arrow_function",
        "method_definition",
        "generator_function_declaration",
        "generator_function",
    }
)
_SIMPLE = frozenset(
    {
        "expression_statement",
        "lexical_declaration",
        "variable_declaration",
        "return_statement",
        "throw_statement",
        "import_statement",
    }
)
_LONGEST_ROW = 6


class ScriptSource:
    """One parsed text; ``of`` makes it."""

    def __init__(self, text: str, language: str, parsed: ParsedText, root: Node) -> None:
        self.text = text
        self.language = language
        self.root = root
        self._parsed = parsed
        self._offsets = None if text.isascii() else _offsets(text)
        self._nodes: dict[str, list[Node]] | None = None
        self._rows: Rows | None = None

    @staticmethod
    def of(text: str, language: str) -> ScriptSource | None:
        """Parse a text; ``None`` where it has errors, no grammar or other line ends."""
        parsed = ParsedText(text, by_id(language).usable_grammar())
        tree = None if "\r" in text else parsed.tree
        if tree is None or tree.root_node.has_error:
            return None
        return ScriptSource(text, language, parsed, tree.root_node)

    @property
    def typed(self) -> bool:
        """Whether the language has type annotations."""
        return self.language in TYPED

    # -- nodes --------------------------------------------------------------------------------

    def all(self, *types: str) -> list[Node]:
        """Every node of some types, in no particular order."""
        if self._nodes is None:
            self._nodes = {}
            stack = [self.root]
            while stack:
                node = stack.pop()
                self._nodes.setdefault(node.type, []).append(node)
                stack.extend(node.named_children)
        return [node for kind in types for node in self._nodes.get(kind, ())]

    def function_of(self, node: Node) -> Node | None:
        """The innermost function around a node."""
        at = node.parent
        while at is not None and at.type not in FUNCTIONS:
            at = at.parent
        return at

    def own_nodes(self, node: Node) -> Iterator[Node]:
        """The named nodes of a function's body without those of functions in it."""
        stack = list(node.named_children)
        while stack:
            inner = stack.pop()
            yield inner
            if inner.type not in FUNCTIONS and inner.type != "class_body":
                stack.extend(inner.named_children)

    # -- places -------------------------------------------------------------------------------

    def at(self, byte: int) -> int:
        """The offset of a byte."""
        return byte if self._offsets is None else self._offsets[byte]

    def span(self, node: Node) -> tuple[int, int]:
        """Start and end of a node."""
        return self.at(node.start_byte), self.at(node.end_byte)

    def segment(self, node: Node) -> str:
        """A node's source."""
        start, end = self.span(node)
        return self.text[start:end]

    def edit(self, node: Node, new: str, *, undoes: bool = False) -> Edit:
        """The edit that puts ``new`` in the place of a node."""
        return Edit(*self.span(node), new, undoes)

    def indent(self, node: Node) -> str:
        """The blanks at the start of the line that a node starts on."""
        line = self.rows.line(node.start_point.row)
        return line[: len(line) - len(line.lstrip())]

    def step(self) -> str:
        """The indentation of one level: the first that the text uses."""
        match = re.search(r"\{\n([ \t]+)\S", self.text)
        return "  " if match is None or len(match[1]) > 4 else match[1]

    def quote(self) -> str:
        """The quote that the text uses more."""
        return '"' if self.text.count('"') > self.text.count("'") else "'"

    def stop(self) -> str:
        """A semicolon, where the text uses them."""
        return ";" if self.text.count(";\n") * 10 > self.text.count("\n") else ""

    def alone(self, one: Node, last: Node | None = None) -> bool:
        """Whether nodes have their lines to themselves and hold no comment."""
        low, high = self.span(one)[0], self.span(last or one)[1]
        rows = self.rows
        head = self.text[rows.start(rows.line_at(low)) : low]
        tail = self.text[high : rows.end(rows.line_at(high))]
        inside = self.text[low:high]
        return not head.strip() and tail.strip() in ("", ";") and not re.search(r"//|/\*", inside)

    @property
    def rows(self) -> Rows:
        """Logical lines: statements without a block in them, and the heads of functions."""
        if self._rows is None:
            spans: list[tuple[int, int]] = []
            for node in self.all(*_SIMPLE):
                first, last = node.start_point.row, node.end_point.row
                if first < last < first + _LONGEST_ROW and "{\n" not in self.segment(node):
                    spans.append((first, last))
            for node in self.all(*FUNCTIONS):
                body = node.child_by_field_name("body")
                if body is not None and body.type == "statement_block":
                    first, last = node.start_point.row, body.start_point.row
                    if first < last < first + _LONGEST_ROW:
                        spans.append((first, last))
            self._rows = Rows(self.text, spans)
        return self._rows

    # -- checks -------------------------------------------------------------------------------

    def valid(self, start: int, end: int, new: str) -> bool:
        """Whether the text still parses with ``new`` in the place of whole lines."""
        if self.text[start:end] == new:
            return True
        tree = self._parsed.edited(start, end, new).tree
        return tree is not None and not tree.root_node.has_error

    def same(self, one: str, other: str) -> bool:
        """Whether two fragments are the same code but for formatting."""
        return tokens(one, self.language) == tokens(other, self.language)


def _offsets(text: str) -> list[int]:
    """The character offset of every byte of a text, and of its end."""
    sizes = (len(char.encode("utf-8", "surrogatepass")) for char in text)
    offsets = list(
        itertools.chain.from_iterable(itertools.repeat(at, size) for at, size in enumerate(sizes))
    )
    return [*offsets, len(text)]


def is_plain(node: Node) -> bool:
    """Whether evaluating an expression twice is as good as once: names and their members."""
    if node.type in ("identifier", "this"):
        return True
    if node.type != "member_expression" or node.child_by_field_name("optional_chain") is not None:
        return False
    inner = node.child_by_field_name("object")
    return inner is not None and is_plain(inner)


def one_line(node: Node) -> bool:
    """Whether a node is on one line."""
    return node.start_point.row == node.end_point.row


def field(node: Node, name: str) -> Node | None:
    """A node's child by its field's name."""
    return node.child_by_field_name(name)
