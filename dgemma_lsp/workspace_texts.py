"""The texts that context is taken from: open documents as they are, and files that are imported.

Everything here runs on one thread, which owns the caches. What a text defines is worked out once
for each state of it; a file is read again when it has changed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from tree_sitter import Tree

from dgemma_lsp.context.collect import Here, Source, akin, items
from dgemma_lsp.context.definitions import definitions
from dgemma_lsp.context.edits import Place, shown
from dgemma_lsp.context.gather import Chosen, around_hole, gather
from dgemma_lsp.context.imports import (
    Import,
    Root,
    imports_of,
    joined,
    places,
    reads_folders,
)
from dgemma_lsp.context.sight import sight_of
from dgemma_lsp.infill.types import Context
from dgemma_lsp.languages import by_extension
from dgemma_lsp.languages.base import Language
from dgemma_lsp.schemas.find import local_path
from dgemma_lsp.syntax.tree import LONG_CHARS, ParsedText
from dgemma_lsp.workspace_files import MAX_BYTES, Stamp, WorkspaceFiles

_MOST_READ = 80
"""Files that are looked at for one request."""

_MOST_KEPT = 400
_FOLDER_FILES = 30
_TRUSTED_S = 5.0
"""How long it is taken for granted where an import leads."""

_OLD_S = 3.0
"""How old what a long document defines may be while it is edited."""

_PAUSE_S = 0.0002
_GO_MODULE = re.compile(r"^module[ \t]+(\S+)", re.MULTILINE)
_JSON_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_JSON_COMMA = re.compile(r",(?=\s*[}\]])")


@dataclass(frozen=True, slots=True)
class OpenText:
    """An open document; ``tree`` may lag behind the text, or be ``None`` for now."""

    uri: str
    parsed: ParsedText
    language: Language
    tree: Tree | None


@dataclass(frozen=True, slots=True)
class Job:
    """What context is wanted for.

    Attributes:
        here: The document.
        start: Where what the model is to write begins.
        end: Where the document goes on behind it.
        visible: What the model sees of the document.
        others: The other open documents that may be shown, the one looked at last first.
        edits: Edited places with the texts they lie in now, the newest first.
        room: Characters for all pieces.
        before: What was shown last.
        disk: Files may be read.
    """

    here: OpenText
    start: int
    end: int
    visible: Context
    others: tuple[OpenText, ...]
    edits: tuple[tuple[Place, ParsedText], ...]
    room: int
    before: Chosen
    disk: bool


@dataclass(slots=True)
class _Read:
    """What was made ``at`` a time of a text in one state: its stamp, or the text itself."""

    state: Stamp | str
    source: Source | None
    at: float = 0.0


@dataclass(slots=True)
class _Round:
    """What one job has to do with: its open texts by path, and how many files it may still read."""

    job: Job
    open: dict[str, OpenText]
    left: int = _MOST_READ
    known: dict[str, Source | None] = field(default_factory=dict[str, "Source | None"])


class WorkspaceTexts:
    """Chooses context; called on one thread alone.

    Args:
        files: What may be read.
        clock: Seconds that only grow.
    """

    def __init__(self, files: WorkspaceFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._read: dict[str, _Read] = {}
        self._targets: dict[tuple[str, Import], tuple[float, tuple[str, ...]]] = {}
        self._roots: dict[Path, tuple[float, Root]] = {}
        self._round: _Round | None = None
        self._ended = False

    def end(self) -> None:
        """Read nothing more, also in the job in hand; may be called on any thread."""
        self._ended = True

    def choose(self, job: Job) -> Chosen:
        """Return what is shown for a job."""
        opened = {_key(each.uri): each for each in (*job.others, job.here)}
        self._round = _Round(job, opened)
        here, parsed = _key(job.here.uri), job.here.parsed
        low = job.start - len(job.visible.prefix)
        high = job.end + len(job.visible.suffix)
        wanted = items(
            Here(
                here,
                sight_of(job.visible.prefix, job.visible.suffix),
                (parsed.byte_at(low), parsed.byte_at(high)),
                parsed.byte_at(job.start),
            ),
            self,
            [_key(each.uri) for each in job.others],
        )
        chosen = gather(
            wanted,
            around_hole(job.visible.prefix, job.visible.suffix),
            [
                (self._name(each.uri), each.parsed.text)
                for each in job.others
                if akin(each.language, job.here.language)
            ],
            list(self._edits(job, low, high)),
            job.room,
            job.here.language,
            job.before,
        )
        self._trim()
        return chosen

    # -- the texts --------------------------------------------------------------------------------

    def source(self, key: str) -> Source | None:
        """Return a text by its path, or its address where it has none; see ``Sources``."""
        this = self._round
        if this is None:
            return None
        if key not in this.known:
            opened = this.open.get(key)
            if opened is not None:
                this.known[key] = self._of_open(key, opened)
            else:
                may_read = this.job.disk and not self._ended
                this.known[key] = self._of_file(key, this) if may_read else None
        return this.known[key]

    def _of_open(self, key: str, opened: OpenText) -> Source | None:
        text, held, now = opened.parsed.text, self._read.get(key), self._clock()
        if held is not None and held.state == text:
            return held.source
        if held is not None and len(text) > LONG_CHARS and now < held.at + _OLD_S:
            return held.source
        if len(text) > MAX_BYTES or opened.tree is None:
            return None
        source = self._made(opened.uri, text, opened.language, opened.tree)
        self._keep(key, _Read(text, source, now))
        return source

    def _of_file(self, key: str, this: _Round) -> Source | None:
        found = self._files.find(Path(key))
        if found is None:
            return None
        place, stamp = found
        held = self._read.get(key)
        if held is not None and held.state == stamp:
            self._keep(key, held)
            return held.source
        if this.left <= 0:
            return None
        this.left -= 1
        text = self._files.read(place)
        language = by_extension(place)
        source = None
        if text is not None and (grammar := language.usable_grammar()) is not None:
            parsed = ParsedText(text, grammar)
            parsed.parse_later(lambda: time.sleep(_PAUSE_S))()
            if parsed.tree is not None:
                source = self._made(Path(key).as_uri(), text, language, parsed.tree)
        self._keep(key, _Read(stamp, source))
        return source

    def _made(self, uri: str, text: str, language: Language, tree: Tree) -> Source:
        data = text.encode("utf-8", "surrogatepass")
        found = definitions(tree, data, language)
        imported = imports_of(text, language)
        if reads_folders(language):  # the files of a package see each other
            imported = (Import("", everything=True), *imported)
        return Source(self._name(uri), language, found, imported)

    def _keep(self, key: str, read: _Read) -> None:
        self._read.pop(key, None)
        self._read[key] = read

    def _trim(self) -> None:
        while len(self._read) > _MOST_KEPT:
            del self._read[next(iter(self._read))]
        if len(self._targets) > 4 * _MOST_KEPT:
            self._targets.clear()
        self._round = None

    def _name(self, uri: str) -> str:
        """What a text is called: its path in the workspace, else its file's name."""
        path = local_path(uri)
        folder = None if path is None else self._files.folder_of(path)
        name = uri.rsplit("/", 1)[-1] if path is None else path.name
        if path is not None and folder is not None:
            name = path.relative_to(folder).as_posix()
        return name.replace("\n", " ").replace("\r", " ")

    # -- imports ----------------------------------------------------------------------------------

    def targets(self, key: str, imported: Import) -> tuple[str, ...]:
        """Return the paths of what an import means; see ``Sources``."""
        this, now = self._round, self._clock()
        if this is None:
            return ()
        known = self._targets.get((key, imported))
        if known is not None and known[0] > now:
            return known[1]
        found = tuple(self._find(key, imported, this))
        self._targets[key, imported] = now + _TRUSTED_S, found
        return found

    def _find(self, key: str, imported: Import, this: _Round) -> Iterator[str]:
        document = Path(key)
        if not document.is_absolute():
            return
        folder = self._files.folder_of(document)
        language = this.open[key].language if key in this.open else by_extension(document)
        if folder is None:
            return
        if reads_folders(language):
            yield from self._package(document, imported, folder, language, this)
            return
        for path in places(imported, document, self._root(document, folder), language):
            if str(path) in this.open:
                yield str(path)
                return
            if this.job.disk and self._files.find(Path(path)) is not None:
                yield str(path)
                return

    def _package(
        self, document: Path, imported: Import, folder: Path, language: Language, this: _Round
    ) -> Iterator[str]:
        """The files of a folder that are one package."""
        root = self._root(document, folder)
        folders = [document.parent] if not imported.module else []
        if imported.module:
            folders = [Path(each) for each in places(imported, document, root, language)]
        for each in folders:
            beside = {key for key in this.open if Path(key).parent == each}
            if this.job.disk:
                found = self._files.listed(each, document.suffix, _FOLDER_FILES)
                beside |= {str(path) for path in found}
            for key in sorted(beside):
                test = Path(key).stem.endswith("_test")
                if key != str(document) and Path(key).suffix == document.suffix and not test:
                    yield key

    def _root(self, document: Path, folder: Path) -> Root:
        """The workspace folder of a document, with what its own files say of imports."""
        now = self._clock()
        known = self._roots.get(document.parent)
        if known is not None and known[0] > now:
            return known[1]
        aliases: list[tuple[str, Path]] = []
        module, base = "", folder
        this = self._round
        for above in document.parents if this is not None and this.job.disk else ():
            if not aliases:
                aliases = self._aliases(above)
            if not module and (text := self._text(above / "go.mod")) is not None:
                named = _GO_MODULE.search(text)
                module, base = ("" if named is None else named[1].strip('"')), above
            if above == folder:
                break
        root = Root(folder, tuple(aliases), module, base)
        self._roots[document.parent] = now + _TRUSTED_S, root
        return root

    def _aliases(self, folder: Path) -> list[tuple[str, Path]]:
        """The heads of imports that a ``tsconfig.json`` or ``jsconfig.json`` names."""
        for name in ("tsconfig.json", "jsconfig.json"):
            text = self._text(folder / name)
            if text is None:
                continue
            plain = _JSON_COMMENT.sub(lambda found: found[1] or "", text)
            try:
                config = msgspec.json.decode(_JSON_COMMA.sub("", plain), type=_Config)
            except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
                continue
            options = config.compilerOptions
            base = joined(folder, options.baseUrl or ".")
            found: list[tuple[str, Path]] = []
            for head, targets in options.paths.items():
                for target in targets:
                    found.append(
                        (head.removesuffix("*"), Path(joined(base, target.removesuffix("*"))))
                    )
            return found
        return []

    def _text(self, path: Path) -> str | None:
        found = self._files.find(path)
        return None if found is None else self._files.read(found[0])

    # -- edits ------------------------------------------------------------------------------------

    def _edits(self, job: Job, low: int, high: int) -> Iterator[tuple[str, str]]:
        for place, now in job.edits:
            if place.uri == job.here.uri:
                # What the model sees anyway is no news, and changes with every key.
                first, last = now.lines.line(low), now.lines.line(high)
                if place.now[1] >= first and place.now[0] <= last:
                    continue
            diff = shown(place, now)
            if diff is not None:
                yield self._name(place.uri), diff.text


class _Options(msgspec.Struct):
    baseUrl: str = ""
    paths: dict[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])


class _Config(msgspec.Struct):
    compilerOptions: _Options = msgspec.field(default_factory=_Options)


def _key(uri: str) -> str:
    path = local_path(uri)
    return uri if path is None else str(path)
