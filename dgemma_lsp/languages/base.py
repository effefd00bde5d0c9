"""What the core may know about a language, as plain data.

A language is a value: identifiers, a grammar to load, and the few surface rules that hold where a
tree is missing or broken. It knows no protocol, no model and no document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dgemma_lsp.syntax.grammar import Grammar, GrammarMissing, GrammarSource, load_grammar


class BlockRule(StrEnum):
    """How the language marks the extent of a block."""

    INDENT = "indent"
    BRACES = "braces"
    WORDS = "words"
    """An opening word and a closing word, such as Lua's ``do`` and ``end``."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    Attributes:
        name: Name for people.
        ids: LSP language identifiers.
        extensions: File name endings, with the dot.
        file_names: Whole file names, for files without a telling ending.
        aliases: What else people call it, as in a code fence; its endings need not be repeated.
        grammar: The grammar's wheel, or ``None`` when there is none to use.
        block: How a block is marked.
        opener: Regular expression that finds the opening of a block at the end of a line.
        block_closer: What closes a block, such as ``}`` or ``end``; empty when indentation does.
        line_comment: What starts a comment that runs to the end of the line.
        block_comment: What starts and ends a comment that may span lines.
        brackets: Pairs of brackets.
        quotes: String quotes that end with the line.
        long_quotes: String quotes that may span lines.
        char_quote: A quote that is a quote only around one character, as in Rust.
        placeholder: A text that is a valid expression by itself.
        fillers: Further texts that may make a hole whole where a mere expression does not, such as
            one that ends its statement.
        block_nodes: Node types whose children are the items of a block.
        opaque_nodes: Node types in which no code starts: strings and comments.
        bracket_nodes: Node types of bracketed lists, in which no statement starts.
        hollow_node: Node type of a body that the grammar lets be empty though the language does
            not; empty where grammar and language agree.
        fault_nodes: Node types with which the grammar says that something is wrong, besides ERROR.
    """

    name: str
    ids: tuple[str, ...]
    extensions: tuple[str, ...]
    grammar: GrammarSource | None
    block: BlockRule
    opener: str
    block_closer: str = ""
    line_comment: str | None = None
    block_comment: tuple[str, str] | None = None
    brackets: tuple[tuple[str, str], ...] = (("(", ")"), ("[", "]"), ("{", "}"))
    quotes: tuple[str, ...] = ('"', "'")
    long_quotes: tuple[str, ...] = ()
    char_quote: str = ""
    file_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    placeholder: str = "x"
    fillers: tuple[str, ...] = ()
    block_nodes: frozenset[str] = field(default=frozenset())
    opaque_nodes: frozenset[str] = field(default=frozenset({"string", "comment"}))
    bracket_nodes: frozenset[str] = field(default=frozenset())
    hollow_node: str = ""
    fault_nodes: frozenset[str] = field(default=frozenset())

    def load_grammar(self) -> Grammar | GrammarMissing | None:
        """The grammar, why it cannot be used, or ``None`` for a language that has none."""
        return None if self.grammar is None else load_grammar(self.grammar)

    def usable_grammar(self) -> Grammar | None:
        """The grammar, or ``None`` when generic checks must do."""
        grammar = self.load_grammar()
        return grammar if isinstance(grammar, Grammar) else None
