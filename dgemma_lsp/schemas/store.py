"""The schemas of the open documents: found by their names, read once, and told of when bad.

One store serves all documents of a session. The schema library is imported when the first schema
applies, so documents without one cost nothing but the look for a name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgemma_lsp.ignored import is_ignored
from dgemma_lsp.infill.types import Fault, SchemaCheck, Snapshot
from dgemma_lsp.languages.base import Language
from dgemma_lsp.schemas import files
from dgemma_lsp.schemas.find import find, local_path
from dgemma_lsp.schemas.read import GRAMMARS, MAX_CHARS
from dgemma_lsp.settings import SchemaSetting

log = logging.getLogger(__name__)

_MOST = 32
"""Schemas that are kept; the one that was read first goes first."""


@dataclass(slots=True)
class _Held:
    """A schema file as it was read; ``check`` is ``None`` for one that cannot be used."""

    stamp: files.Stamp
    check: SchemaCheck | None
    neighbours: files.Neighbours


class Schemas:
    """Finds and keeps schemas; the check of candidates for every structured document.

    Args:
        on_problem: Called with what is wrong with a schema, once for each state of its file.
    """

    def __init__(self, on_problem: Callable[[str], None]) -> None:
        self._on_problem = on_problem
        self._settings: tuple[SchemaSetting, ...] = ()
        self._ignore: tuple[str, ...] = ()
        self._folders: dict[str, Path] = {}
        self._held: dict[Path, _Held] = {}

    def configure(self, schemas: Sequence[SchemaSetting], ignore: Sequence[str]) -> None:
        """Take the settings ``schemas`` and ``ignore``."""
        if tuple(ignore) != self._ignore:
            self._held.clear()
        self._settings, self._ignore = tuple(schemas), tuple(ignore)

    def open(self, uri: str) -> None:
        """Take in a workspace folder; relative paths in the settings start there."""
        path = local_path(uri)
        if path is not None:
            self._folders[uri] = path

    def close(self, uri: str) -> None:
        """Forget a workspace folder."""
        self._folders.pop(uri, None)

    def check_for(self, language: Language) -> SchemaCheck | None:
        """Return what checks the documents of a language; ``None`` when nothing does."""
        grammar = language.grammar
        return self if grammar is not None and grammar.name in GRAMMARS else None

    def faults(self, snapshot: Snapshot, offset: int, text: str) -> tuple[Fault, ...]:
        """Return what ``text`` at a character offset breaks of the document's schema, if any."""
        if len(snapshot.text) + len(text) > MAX_CHARS:
            return ()
        named = find(snapshot, self._settings, self._folders_of(snapshot.uri))
        if named is None or self._is_forbidden(named.path):
            return ()
        held = self._schema(named.path, told=named.by_settings)
        if held.check is None:
            return ()
        from dgemma_lsp.schemas.validator import BadSchema

        try:
            return held.check.faults(snapshot, offset, text)
        except BadSchema as err:
            held.check = None
            self._on_problem(_unusable(named.path, str(err)))
            return ()

    def _folders_of(self, uri: str) -> list[Path]:
        """The workspace folders, the innermost one with the document first."""
        path = local_path(uri)
        around = [f for f in self._folders.values() if path is not None and path.is_relative_to(f)]
        around.sort(key=lambda folder: len(folder.parts), reverse=True)
        return [*around, *(f for f in self._folders.values() if f not in around)]

    def _is_forbidden(self, path: Path) -> bool:
        """Whether a path, or what it leads to, is on the ignore list."""
        try:
            places = {path.absolute(), path.resolve()}
            return any(is_ignored(place.as_uri(), self._ignore) for place in places)
        except (OSError, RuntimeError, ValueError):
            return True

    def _schema(self, path: Path, *, told: bool) -> _Held:
        now = files.stamp(path)
        held = self._held.get(path)
        if held is not None and held.stamp == now and held.neighbours.are_unchanged():
            return held
        neighbours = files.Neighbours(path, self._is_forbidden)
        held = _Held(now, self._read(path, neighbours, now, told=told), neighbours)
        self._held.pop(path, None)
        self._held[path] = held
        if len(self._held) > _MOST:
            del self._held[next(iter(self._held))]
        return held

    def _read(
        self, path: Path, neighbours: files.Neighbours, now: files.Stamp, *, told: bool
    ) -> SchemaCheck | None:
        if now is None and not told:
            # The name may just be half written in the document.
            log.info("the schema %s is not there", path)
            return None
        from dgemma_lsp.schemas.check import DocumentSchema
        from dgemma_lsp.schemas.validator import BadSchema, Validator

        try:
            contents = files.read(path)
            uri = path.resolve().as_uri()
            return DocumentSchema(Validator(contents, uri, neighbours.retrieve))
        except files.NotASchema as err:
            self._on_problem(f"A schema is not used: {err}")
        except BadSchema as err:
            self._on_problem(_unusable(path, str(err)))
        return None


def _unusable(path: Path, why: str) -> str:
    return f"A schema is not used: {path}: {why}."
