"""Which schema a document names, and which one the settings name for it. Reads nothing.

A document names one itself by ``$schema`` at the top of JSON, by the comment of the YAML language
server, or by Taplo's for TOML. Addresses of the network are only looked up in the settings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from dgemma_lsp.ignored import is_ignored
from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.schemas.read import values_of
from dgemma_lsp.settings import SchemaSetting

_HEAD_LINES = 30

_COMMENTS = {
    "yaml": re.compile(r"#\s*yaml-language-server\s*:\s*\$schema\s*=\s*(\S+)"),
    "toml": re.compile(r"#:schema\s+(\S+)"),
}


@dataclass(frozen=True, slots=True)
class Named:
    """A schema file by path; ``by_settings`` when the document does not name it itself."""

    path: Path
    by_settings: bool


def find(
    snapshot: Snapshot, schemas: Sequence[SchemaSetting], folders: Sequence[Path]
) -> Named | None:
    """Return the schema that goes with a document, or ``None`` where there is none.

    Args:
        snapshot: The document.
        schemas: The setting.
        folders: Where the relative paths of the setting may start, first match first.
    """
    document = local_path(snapshot.uri)
    own = own_schema(snapshot)
    if own:
        if urlsplit(own).scheme in ("http", "https"):
            for entry in schemas:
                if own.rstrip("#") in [url.rstrip("#") for url in entry.urls]:
                    return Named(_of_settings(entry.schema, folders), True)
        elif (path := _beside(own, document)) is not None:
            return Named(path, False)
    for entry in schemas:
        if entry.files and is_ignored(snapshot.uri, entry.files):
            return Named(_of_settings(entry.schema, folders), True)
    return None


def own_schema(snapshot: Snapshot) -> str:
    """Return what a document says its schema is; empty when it says nothing."""
    grammar = snapshot.parsed.grammar
    if grammar is None:
        return ""
    comment = _COMMENTS.get(grammar.name)
    if comment is not None:
        for line in snapshot.text[:4000].splitlines()[:_HEAD_LINES]:
            found = comment.fullmatch(line.strip())
            if found is not None:
                return found[1]
            if line.strip() and not line.lstrip().startswith(("#", "---", "%")):
                break
    if grammar.name != "json" or '"$schema"' not in snapshot.text:
        return ""
    tree = values_of(snapshot.parsed)
    member = None if tree is None else tree.root.members.get("$schema")
    said = None if member is None else member.value.data
    return said if isinstance(said, str) else ""


def local_path(uri: str) -> Path | None:
    """Return the path that a ``file`` address names on this machine; ``None`` for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    return _safe(url2pathname(parts.path) if os.name == "nt" else unquote(parts.path))


def _beside(name: str, document: Path | None) -> Path | None:
    if name.startswith("file:"):
        return local_path(name)
    # A drive letter looks like the scheme of an address.
    if re.match(r"[A-Za-z][\w+.-]+:", name):
        return None
    path = _safe(name.split("#", 1)[0])
    if path is None or path.is_absolute():
        return path
    return None if document is None else document.parent / path


def _safe(name: str) -> Path | None:
    """A path, unless it is none or leads to another machine."""
    if not name or "\0" in name or name.startswith(("//", "\\\\")):
        return None
    return Path(name)


def _of_settings(name: str, folders: Sequence[Path]) -> Path:
    path = Path(name).expanduser()
    places = [folder / path for folder in folders]  # an absolute path stays what it is
    return next((place for place in places if place.is_file()), places[0] if places else path)
