"""What a text defines: signatures and the first line of their documentation, never bodies.

Works on a tree that may be rough or broken: what does not have the shape of a definition is left
out. Offsets are bytes of the text in UTF-8, as the tree counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, Tree

from dgemma_lsp.context.kinds import KINDS, Kinds
from dgemma_lsp.languages.base import BlockRule, Language

MOST = 600
"""Definitions that are taken from one text."""

_MOST_NODES = 20_000
_SIGNATURE_CHARS = 240
_SHAPE_CHARS = 480
_SHAPE_LINES = 16
_VALUE_CHARS = 100
_DOC_CHARS = 100
_FIELDS = 10
_DEPTH = 6

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d]\w*")
_DOC_QUOTES = re.compile(r"^[rRuUbBfF]*(?P<quote>\"\"\"|'''|\"|')")
_COMMENT_MARK = re.compile(r"^\s*(?:/\*+!?|\*+/?|//[/!]?|#+!?|--+(?:\[\[)?)[ \t]?")


@dataclass(frozen=True, slots=True)
class Definition:
    """One thing that a text defines.

    Attributes:
        name: Its name, without what it belongs to.
        text: Signature and first line of documentation, as code that could stand in a file; ends
            without a line break.
        container: The type it is a member of; empty for what stands by itself.
        start: First byte of it in the text.
        end: Byte behind its body.
    """

    name: str
    text: str
    container: str
    start: int
    end: int


def definitions(tree: Tree, data: bytes, language: Language) -> tuple[Definition, ...]:
    """Return what a text defines at its top and in its types, in order.

    Args:
        tree: Its tree, which may lag behind the text by some edits.
        data: The text in UTF-8.
        language: Its language.
    """
    grammar = language.grammar
    kinds = KINDS.get(grammar.name) if grammar is not None else None
    if kinds is None:
        return ()
    reader = _Reader(data, kinds, language)
    found: list[Definition] = []
    for definition in reader.walk(tree.root_node, "", 0):
        found.append(definition)
        if len(found) >= MOST:
            break
    return tuple(each for each in found if each.name not in reader.changing)


class _Reader:
    """Reads definitions off one tree; ``changing`` are names that are given values repeatedly."""

    def __init__(self, data: bytes, kinds: Kinds, language: Language) -> None:
        self._data = data
        self._kinds = kinds
        self._indented = language.block is BlockRule.INDENT
        self._braces = language.block is BlockRule.BRACES
        self._comment = language.line_comment or ""
        self._seen = 0
        self._values: set[str] = set()
        self.changing: set[str] = set()

    def walk(self, node: Node, container: str, depth: int) -> Iterator[Definition]:
        """Yield what is defined among the children of a node, and below."""
        if depth > _DEPTH:
            return
        kinds = self._kinds
        for child in node.children:
            self._seen += 1
            if self._seen > _MOST_NODES:
                return
            kind = child.type
            if kind in kinds.types:
                yield from self._type(child, container, depth)
            elif kind in kinds.functions:
                name = self._name(child)
                if name:
                    text = self._function(child)
                    yield Definition(name, text, container, child.start_byte, child.end_byte)
            elif kind in kinds.shapes:
                yield from self._shape(child, container)
            elif kind in kinds.values:
                if not container:
                    yield from self._value(child)
            elif kind in kinds.through:
                yield from self.walk(child, container, depth + 1)

    # -- kinds of definitions -----------------------------------------------------------------

    def _type(self, node: Node, container: str, depth: int) -> Iterator[Definition]:
        name = self._name(node) or self._name(node, "type")
        body = node.child_by_field_name("body")
        if not name:
            return
        if not container and node.type != "impl_item":  # Rust's has no name of its own
            yield Definition(name, self._head(node, body), "", node.start_byte, node.end_byte)
        if body is not None and not container:
            yield from self.walk(body, name, depth + 1)

    def _head(self, node: Node, body: Node | None) -> str:
        """A type's first line, documentation, fields and constructor."""
        head = self._signature(node, body)
        lines: list[str] = []
        fields = 0
        for member in [] if body is None else body.children:
            inner = member.children[0] if member.type == "expression_statement" else member
            if inner.type in self._kinds.fields and fields < _FIELDS:
                fields += 1
                lines.append(self._one_line(inner, _VALUE_CHARS))
            elif inner.type == "constructor_declaration" or (
                inner.type in self._kinds.functions
                and self._name(inner) in self._kinds.constructors
            ):
                lines += self._function(inner).split("\n")
        doc = self._doc(node, body)
        if self._indented:
            lines = [f'"""{doc}"""', *lines] if doc else lines
            return "\n".join([head, *("    " + line for line in lines or ["..."])])
        above = [f"{self._comment} {doc}"] if doc and self._comment else []
        if self._braces:
            if not lines:
                return "\n".join([*above, head + (";" if head.endswith(";") else " {}")])
            return "\n".join([*above, head + " {", *("  " + line for line in lines), "}"])
        return "\n".join([*above, head, *("  " + line for line in lines), "end"])

    def _function(self, node: Node) -> str:
        body = node.child_by_field_name("body")
        head, doc = self._signature(node, body), self._doc(node, body)
        if self._indented:
            return f'{head}\n    """{doc}"""' if doc else f"{head} ..."
        head = head.rstrip(";") + self._kinds.ended
        return f"{self._comment} {doc}\n{head}" if doc and self._comment else head

    def _shape(self, node: Node, container: str) -> Iterator[Definition]:
        name = self._name(node) or self._name(node, "declarator")
        if not name:  # Go has the name one further down
            name = next((n for c in node.named_children if (n := self._name(c))), "")
        text = self._text(node.start_byte, node.end_byte)
        if not name or not text:
            return
        if "{" in text or "\n" in text:
            lines = _dedented(text)[:_SHAPE_LINES]
            text = "\n".join(line for line in lines if line.strip())
        if len(text) > _SHAPE_CHARS:
            text = text[:_SHAPE_CHARS].rpartition("\n")[0] or text[:_SHAPE_CHARS]
        doc = self._doc(node, None)
        if doc and self._comment:
            text = f"{self._comment} {doc}\n{text}"
        yield Definition(name, text, container, node.start_byte, node.end_byte)

    def _value(self, node: Node) -> Iterator[Definition]:
        named = next(
            (
                part
                for field in ("name", "left", "declarator")
                if (part := node.child_by_field_name(field)) is not None
            ),
            node.named_children[0] if node.named_children else None,
        )
        if named is None:
            return
        left = self._text(named.start_byte, min(named.end_byte, named.start_byte + 80))
        words = _WORD.findall(left.partition("(")[0].partition("=")[0])
        if not words or (named.type not in _PLAIN_NAMES and "declarator" not in named.type):
            return
        if words[-1] in self._values:
            self.changing.add(words[-1])
            return
        self._values.add(words[-1])
        value = node.child_by_field_name("value")
        outer = node.parent if node.type in _DECLARED else None
        start = node.start_byte
        keyword = ""
        if outer is not None and outer.type != "var_spec_list":
            first = outer.children[0]
            keyword = self._text(first.start_byte, first.end_byte) + " "
        body = None if value is None else value.child_by_field_name("body")
        if body is not None and value is not None and value.type.endswith("function"):
            text = _SPACE.sub(" ", self._text(start, body.start_byte)).rstrip(" {")
            text = keyword + text.removesuffix("=>").rstrip() + self._kinds.ended
        else:
            text = keyword + self._one_line(node, _VALUE_CHARS)
        yield Definition(words[-1], text, "", node.start_byte, node.end_byte)

    # -- parts ----------------------------------------------------------------------------------

    def _text(self, start: int, end: int) -> str:
        return self._data[start:end].decode("utf-8", "replace")

    def _name(self, node: Node, field: str = "name") -> str:
        named = node.child_by_field_name(field)
        if named is None and field == "name":  # C hides it in its declarators
            named = node.child_by_field_name("declarator")
        if named is None or named.end_byte - named.start_byte > 400:
            return ""
        text = self._text(named.start_byte, named.end_byte)
        if named.type.endswith("declarator"):
            text = text.partition("(")[0]
        words = _WORD.findall(text.partition("<")[0])
        return words[-1] if words else ""

    def _signature(self, node: Node, body: Node | None) -> str:
        end = node.end_byte if body is None else body.start_byte
        if body is None:
            parameters = node.child_by_field_name("parameters")
            text = self._text(node.start_byte, min(end, node.start_byte + 4 * _SIGNATURE_CHARS))
            if parameters is not None and not self._braces and not self._indented:
                text = self._text(node.start_byte, parameters.end_byte)
            elif parameters is None and "{" not in text:
                text = text.partition("\n")[0]
        else:
            text = self._text(node.start_byte, min(end, node.start_byte + 4 * _SIGNATURE_CHARS))
            if self._indented:  # a comment may stand between the colon and the body
                text = text[: text.rfind(":") + 1] or text
        text = _SPACE.sub(" ", text).strip().removesuffix("{").rstrip()
        text = text.replace("( ", "(").replace(", )", ")").replace(" )", ")")
        return text if len(text) <= _SIGNATURE_CHARS else text[:_SIGNATURE_CHARS].rstrip() + " ..."

    def _one_line(self, node: Node, limit: int) -> str:
        text = self._text(node.start_byte, min(node.end_byte, node.start_byte + 4 * limit))
        first, more, _ = text.partition("\n")
        first = first.rstrip()
        if more or len(first) > limit:
            first = first[:limit].rstrip() + " ..."
        return first

    def _doc(self, node: Node, body: Node | None) -> str:
        """The first line of a definition's documentation; empty when it has none."""
        text = ""
        if self._indented:
            first = body.children[0] if body is not None and body.children else None
            if first is not None and first.type == "expression_statement" and first.children:
                first = first.children[0]
            if first is not None and first.type == "string":
                text = self._text(first.start_byte, min(first.end_byte, first.start_byte + 400))
                quote = _DOC_QUOTES.match(text)
                text = text[quote.end() :] if quote else ""
                text = text.partition(quote["quote"])[0] if quote else ""
                text = text.strip()
        else:
            above = node.prev_sibling
            if node.parent is not None and node.parent.type in _WRAPPERS:
                above = node.parent.prev_sibling
            first = above
            while above is not None and "comment" in above.type:  # up to where they begin
                first, above = above, above.prev_sibling
                if above is None or above.end_point[0] + 1 < first.start_point[0]:
                    break
            if first is not None and "comment" in first.type:
                text = self._text(first.start_byte, min(first.end_byte, first.start_byte + 400))
                lines = (_COMMENT_MARK.sub("", line).strip() for line in text.split("\n"))
                text = next((line for line in lines if line), "").removesuffix("*/").strip()
        line = text.partition("\n")[0].strip().replace('"""', "")
        return line if len(line) <= _DOC_CHARS else line[:_DOC_CHARS].rpartition(" ")[0]


_PLAIN_NAMES = frozenset(
    {"identifier", "constant", "name", "variable_list", "type_identifier", "const_element", "type"}
)
_DECLARED = frozenset({"variable_declarator", "const_spec", "var_spec"})
_WRAPPERS = frozenset({"export_statement", "template_declaration", "ambient_declaration"})


def _dedented(text: str) -> list[str]:
    """The lines of a text whose first line starts where its node does."""
    first, *rest = text.replace("\r\n", "\n").split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    last = rest[-1] if rest else ""
    margin = min(margin, len(last) - len(last.lstrip())) if last.strip() else margin
    return [first, *(line[margin:] for line in rest)]
