"""The registry of languages: by LSP language identifier, and by file name for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.languages.generic import GENERIC
from dgemma_lsp.languages.go import GO
from dgemma_lsp.languages.javascript import JAVASCRIPT
from dgemma_lsp.languages.json import JSON
from dgemma_lsp.languages.lua import LUA
from dgemma_lsp.languages.python import PYTHON
from dgemma_lsp.languages.rust import RUST
from dgemma_lsp.languages.typescript import TSX, TYPESCRIPT

__all__ = ["ALL", "BY_ID", "GENERIC", "BlockRule", "Language", "by_extension", "by_id"]

ALL: tuple[Language, ...] = (PYTHON, JAVASCRIPT, TYPESCRIPT, TSX, GO, RUST, LUA, JSON)
"""Every language with rules of its own."""

BY_ID: Mapping[str, Language] = MappingProxyType(
    {name: language for language in ALL for name in language.ids}
)
"""LSP language identifier to language."""

_BY_EXTENSION: Mapping[str, Language] = MappingProxyType(
    {ending: language for language in ALL for ending in language.extensions}
)


def by_id(language_id: str) -> Language:
    """The language of an LSP identifier; the generic one when it is not known."""
    return BY_ID.get(language_id, GENERIC)


def by_extension(path: str | PurePath) -> Language:
    """The language of a file by the ending of its name; the generic one when it is not known."""
    return _BY_EXTENSION.get(PurePath(path).suffix.lower(), GENERIC)
