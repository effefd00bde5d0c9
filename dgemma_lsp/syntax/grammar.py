"""Loading tree-sitter grammars: lazily, and with a value instead of an exception when missing."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass

import tree_sitter


@dataclass(frozen=True, slots=True)
class GrammarSource:
    """Where a grammar comes from: a wheel's module and the function that returns its pointer."""

    name: str
    module: str
    function: str = "language"

    @property
    def package(self) -> str:
        """Name of the wheel's distribution."""
        return self.module.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar that is ready to parse."""

    name: str
    language: tree_sitter.Language


@dataclass(frozen=True, slots=True)
class GrammarMissing:
    """A grammar that cannot be used; ``message`` is one line for a person."""

    name: str
    message: str


@functools.cache
def load_grammar(source: GrammarSource) -> Grammar | GrammarMissing:
    """Import the grammar's wheel, once per process."""
    try:
        module = importlib.import_module(source.module)
        pointer: object = getattr(module, source.function)()
        language = tree_sitter.Language(pointer)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        # ValueError: the wheel was built for another ABI than this tree-sitter's. TypeError: its
        # function returns something else than a grammar.
        return GrammarMissing(
            source.name,
            f"The {source.name} grammar is not usable ({error}); install {source.package}. "
            "Until then candidates are checked for brackets, quotes and indentation only.",
        )
    return Grammar(source.name, language)
