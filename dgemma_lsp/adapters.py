"""Which fine-tuned adapter a document's requests name, and what came of those that were named.

A workspace's adapter is used where there is one and the settings allow it. One that the runtime
refused is not named again until its file changes, so that a bad file costs one request and not
every one. Knows no LSP and no runtime; looks at file names and times only.
"""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote

from dgemma_lsp.pipeline import Outcome
from dgemma_wire.adapters import adapter_id, adapter_stamp

log = logging.getLogger(__name__)

AUTO, OFF = "auto", "off"


class WorkspaceAdapters:
    """The adapters of the open workspace folders.

    Attributes:
        used: Id of the adapter of the last answer; empty for the model's own.
        problem: Why the last adapter that was named could not be used.
    """

    def __init__(self) -> None:
        self.used = ""
        self.problem: str | None = None
        self._ids: dict[str, str] = {}
        self._refused: set[tuple[str, int | None]] = set()

    def open(self, uri: str, path: Path) -> None:
        """Take in a workspace folder."""
        self._ids[_folder(uri)] = adapter_id(path)

    def close(self, uri: str) -> None:
        """Forget a workspace folder."""
        self._ids.pop(_folder(uri), None)

    def choose(self, setting: str, uri: str) -> str:
        """Return the id to name in a request for a document; empty for none.

        Args:
            setting: The setting ``adapter``.
            uri: The document's.
        """
        if setting == OFF:
            return ""
        name = self._of_document(uri) if setting == AUTO else setting
        if not name:
            return ""
        stamp = adapter_stamp(name)
        if (stamp is None and setting == AUTO) or (name, stamp) in self._refused:
            return ""
        return name

    def note(self, outcome: Outcome) -> None:
        """Take note of what a request came to."""
        if outcome.refused is not None:
            name, self.problem = outcome.refused.adapter, outcome.refused.why
            log.warning("%s", self.problem)
            self._refused.add((name, adapter_stamp(name)))
        elif outcome.adapter:
            self.problem = None
        if outcome.times.runtime is not None:
            self.used = outcome.adapter

    def forget_refusals(self) -> None:
        """Let every adapter be tried again."""
        self._refused.clear()
        self.problem = None

    def _of_document(self, uri: str) -> str:
        """The id of the innermost folder that holds a document."""
        path = unquote(uri)
        holding = [folder for folder in self._ids if path.startswith(folder)]
        return self._ids[max(holding, key=len)] if holding else ""


def _folder(uri: str) -> str:
    return unquote(uri).rstrip("/") + "/"
