"""What an evaluation has heard so far, on disk, so that a stopped one goes on where it was.

A line of JSON for each answer, behind a line that says what was asked. Owns the file: it holds the
texts of fills, and is gone once the evaluation is complete. Knows no system and no judgement.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from dgemma_training.evaluation.asking import Answer
from dgemma_training.evaluation.items import EvaluationError
from dgemma_training.evaluation.probes import ProbeResult
from dgemma_training.evaluation.results import SystemInfo

JOURNAL_FILE = "answers.part.jsonl"


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """What the evaluation is: a digest of rows, systems and settings."""

    digest: str


class Opened(msgspec.Struct, frozen=True, tag="system"):
    """A system that was ready to answer."""

    info: SystemInfo


class Filled(msgspec.Struct, frozen=True, tag="fill"):
    """A system's answers to a row, by reading."""

    system: str
    set: str
    row: str
    answers: dict[str, Answer]


class Probed(msgspec.Struct, frozen=True, tag="probes"):
    """What a system made of the probes."""

    system: str
    results: list[ProbeResult]


class Rewrote(msgspec.Struct, frozen=True, tag="rewrite"):
    """What came of a system's rewrite; ``number`` counts the rewrites from 1."""

    system: str
    number: int
    done: bool
    shown: bool
    declined: bool


Entry = Asked | Opened | Filled | Probed | Rewrote
_DECODER = msgspec.json.Decoder(Entry)


class Journal:
    """The answers of one evaluation, those of an earlier attempt among them.

    Attributes:
        resumed: There was an earlier attempt.
        systems: By name.
        fills: Answers by reading, by system, set and row.
        probes: By system.
        rewrites: By system and number.
    """

    def __init__(self, path: Path | None, digest: str) -> None:
        """Read what there is and go on behind it; without a ``path`` nothing is kept.

        Raises:
            EvaluationError: The file is of another evaluation, or cannot be read or written.
        """
        self.resumed = False
        self.systems: dict[str, SystemInfo] = {}
        self.fills: dict[tuple[str, str, str], dict[str, Answer]] = {}
        self.probes: dict[str, list[ProbeResult]] = {}
        self.rewrites: dict[tuple[str, int], Rewrote] = {}
        self._path = path
        self._file: BinaryIO | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
            entries, length = _entries(data)
            if entries and entries[0] != Asked(digest):
                raise EvaluationError(
                    f"{path} holds answers of another evaluation, which was stopped: give the "
                    "command that began it, or another --out, or delete the file."
                )
            self._file = path.open("r+b" if data else "wb")
            self._file.truncate(length)
            self._file.seek(length)
        except OSError as error:
            raise EvaluationError(f"{path} cannot be used: {error.strerror}.") from error
        if not entries:
            self._write(Asked(digest))
        for entry in entries[1:]:
            self._note(entry)
        self.resumed = len(entries) > 1

    def add(self, entry: Entry) -> None:
        """Keep an answer."""
        self._note(entry)
        self._write(entry)

    def close(self, *, complete: bool) -> None:
        """Leave the file for the next attempt, or delete it when nothing is left to ask."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if complete and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _note(self, entry: Entry) -> None:
        match entry:
            case Asked():
                pass
            case Opened():
                self.systems[entry.info.name] = entry.info
            case Filled():
                self.fills[entry.system, entry.set, entry.row] = entry.answers
            case Probed():
                self.probes[entry.system] = entry.results
            case Rewrote():
                self.rewrites[entry.system, entry.number] = entry

    def _write(self, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()


def _entries(data: bytes) -> tuple[list[Entry], int]:
    """Return the entries and the bytes they take; an attempt that was killed leaves half a line.

    Raises:
        EvaluationError: The file is none of these.
    """
    entries: list[Entry] = []
    length = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            entries.append(_DECODER.decode(line))
        except msgspec.MsgspecError as error:
            raise EvaluationError(
                f"The answers of a stopped evaluation cannot be read: {error}. Give another --out."
            ) from error
        length += len(line)
    return entries, length
