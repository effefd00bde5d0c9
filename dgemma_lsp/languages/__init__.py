"""The registry of languages: by LSP language identifier, by file name, by the name in a fence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

from dgemma_lsp.languages.base import BlockRule, Language
from dgemma_lsp.languages.bash import BASH
from dgemma_lsp.languages.c import C
from dgemma_lsp.languages.cpp import CPP
from dgemma_lsp.languages.csharp import CSHARP
from dgemma_lsp.languages.css import CSS
from dgemma_lsp.languages.generic import GENERIC
from dgemma_lsp.languages.go import GO
from dgemma_lsp.languages.html import HTML
from dgemma_lsp.languages.java import JAVA
from dgemma_lsp.languages.javascript import JAVASCRIPT
from dgemma_lsp.languages.json import JSON
from dgemma_lsp.languages.lua import LUA
from dgemma_lsp.languages.markdown import MARKDOWN
from dgemma_lsp.languages.php import PHP
from dgemma_lsp.languages.python import PYTHON
from dgemma_lsp.languages.ruby import RUBY
from dgemma_lsp.languages.rust import RUST
from dgemma_lsp.languages.sql import SQL
from dgemma_lsp.languages.toml import TOML
from dgemma_lsp.languages.typescript import TSX, TYPESCRIPT
from dgemma_lsp.languages.yaml import YAML

__all__ = ["ALL", "BY_ID", "GENERIC", "BlockRule", "Language", "by_extension", "by_id", "by_name"]

ALL: tuple[Language, ...] = (
    *(PYTHON, JAVASCRIPT, TYPESCRIPT, TSX, GO, RUST, C, CPP, JAVA, CSHARP, RUBY, PHP, LUA, BASH),
    *(SQL, HTML, CSS, JSON, YAML, TOML, MARKDOWN),
)
"""Every language with rules of its own."""

BY_ID: Mapping[str, Language] = MappingProxyType(
    {name: language for language in ALL for name in language.ids}
)
"""LSP language identifier to language."""

_BY_EXTENSION: Mapping[str, Language] = MappingProxyType(
    {ending: language for language in ALL for ending in language.extensions}
)

_BY_FILE_NAME: Mapping[str, Language] = MappingProxyType(
    {name: language for language in ALL for name in language.file_names}
)

_BY_NAME: Mapping[str, Language] = MappingProxyType(
    {name: language for language in ALL for name in (language.name, *language.aliases)}
)


def by_id(language_id: str) -> Language:
    """The language of an LSP identifier; the generic one when it is not known."""
    return BY_ID.get(language_id, GENERIC)


def by_extension(path: str | PurePath) -> Language:
    """The language of a file by its name or the ending of it; the generic one when unknown."""
    path = PurePath(path)
    named = _BY_FILE_NAME.get(path.name)
    return named or _BY_EXTENSION.get(path.suffix.lower(), GENERIC)


def by_name(name: str) -> Language:
    """The language that a person calls ``name``, such as ``py``, ``c++`` or ``shell``."""
    name = name.lower()
    return BY_ID.get(name) or _BY_NAME.get(name) or by_extension(f"x.{name}")
