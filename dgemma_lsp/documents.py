"""The open documents: text that follows ``didOpen``, ``didChange`` and ``didClose``.

Positions come as plain numbers with the name of their encoding; nothing here knows lsprotocol.
A change costs its splice plus one copy of the text. What leaves is a ``Snapshot``, which no later
change can touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dgemma_lsp.infill.types import SchemaCheck, Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.languages.base import Language
from dgemma_lsp.syntax.lines import Encoding
from dgemma_lsp.syntax.tree import ParsedText


@dataclass(frozen=True, slots=True)
class Position:
    """A place as LSP counts: ``character`` in units of the negotiated encoding."""

    line: int
    character: int


@dataclass(frozen=True, slots=True)
class Change:
    """One content change; without ``start`` and ``end`` it replaces the whole text."""

    text: str
    start: Position | None = None
    end: Position | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One open document at one version.

    A change gives a new value, so a document that was handed out stays as it was.
    """

    uri: str
    language_id: str
    version: int
    language: Language
    parsed: ParsedText

    @classmethod
    def opened(cls, uri: str, language_id: str, version: int, text: str) -> Document:
        """A document as ``didOpen`` brings it."""
        language = by_id(language_id)
        return cls(uri, language_id, version, language, ParsedText(text, language.usable_grammar()))

    @property
    def text(self) -> str:
        """The whole text."""
        return self.parsed.text

    def changed(
        self, version: int, changes: Iterable[Change], encoding: str = Encoding.UTF16
    ) -> Document:
        """The document after ``changes``, each of which sees the text the one before it left."""
        units = Encoding(encoding)
        parsed = self.parsed
        for change in changes:
            if change.start is None or change.end is None:
                parsed = ParsedText(change.text, parsed.grammar)
                continue
            start = parsed.offset_at(change.start.line, change.start.character, units)
            end = parsed.offset_at(change.end.line, change.end.character, units)
            parsed = parsed.edited(min(start, end), max(start, end), change.text)
        return Document(self.uri, self.language_id, version, self.language, parsed)

    def snapshot(self, schema: SchemaCheck | None = None) -> Snapshot:
        """The document as the infill core sees it."""
        return Snapshot(self.uri, self.version, self.parsed, self.language, schema)


class DocumentStore:
    """The documents that are open now, by URI.

    Args:
        check_for: What compares the documents of a language with their schemas, if anything does.
    """

    __slots__ = ("_check_for", "_documents")

    def __init__(
        self, check_for: Callable[[Language], SchemaCheck | None] = lambda _: None
    ) -> None:
        self._check_for = check_for
        self._documents: dict[str, Document] = {}

    def __contains__(self, uri: str) -> bool:
        return uri in self._documents

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._documents.values()))

    def __len__(self) -> int:
        return len(self._documents)

    def open(self, uri: str, language_id: str, version: int, text: str) -> Document:
        """Take in a document; one that is open already is replaced."""
        document = Document.opened(uri, language_id, version, text)
        self._documents[uri] = document
        return document

    def change(
        self, uri: str, version: int, changes: Iterable[Change], encoding: str = Encoding.UTF16
    ) -> Document | None:
        """Apply changes; ``None`` for a document that is not open."""
        document = self._documents.get(uri)
        if document is None:
            return None
        self._documents[uri] = document = document.changed(version, changes, encoding)
        return document

    def close(self, uri: str) -> None:
        """Forget a document; one that is not open is no error."""
        self._documents.pop(uri, None)

    def get(self, uri: str) -> Document | None:
        """The document, or ``None`` when it is not open."""
        return self._documents.get(uri)

    def snapshot(self, uri: str) -> Snapshot | None:
        """The document as it is now, or ``None`` when it is not open."""
        document = self._documents.get(uri)
        if document is None:
            return None
        return document.snapshot(self._check_for(document.language))
