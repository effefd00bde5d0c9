"""Systems that are asked through the real runtime, exactly as the language server asks it.

A row becomes a document with the cursor in its hole; hole, context, canvas, trimming and verdict
are the server's own code. Owns the runtime process it starts. Judges nothing.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from dgemma_lsp.infill.types import Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.pipeline import Options, Outcome, Silence, fill
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_runtime.models import resolve_spec
from dgemma_runtime.text import load_codec
from dgemma_training.evaluation.items import EvaluationError, Item, Span
from dgemma_training.rows import Row
from dgemma_wire.endpoint import DIRECTORY_VARIABLE
from dgemma_wire.errors import FailureCode
from dgemma_wire.messages import Status
from dgemma_wire.settings import RuntimeSettings

_ORPHANED_S = 60
"""How long a runtime outlives an evaluation that was killed."""

_FATAL = frozenset({Silence.NO_RUNTIME, FailureCode.MODEL_UNAVAILABLE, FailureCode.OUT_OF_MEMORY})
"""What is wrong with more than one row."""

_WARM_UP = Row(
    id="warm-up",
    language="python",
    kind="",
    package="",
    version="",
    licence="",
    path="",
    prefix="def add(left, right):\n    total = ",
    middle="left + right",
    suffix="\n    return total\n",
    empty_parses=False,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system made of a hole.

    Attributes:
        text: What goes into the hole.
        tokens: Of the text as the model made it and of its end, by encoding it again.
        forwards: Passes after the prefix: denoise steps, or tokens of the base.
        prefill_ms: The causal pass over what no cache held.
        steps_ms: The passes after it.
        total_ms: From the cursor to the checked text.
        shown: The server would show it; ``None`` of a text that it was not asked about.
        rules: Rules of the server that changed the text.
        problem: Why there is no text.
    """

    text: str
    tokens: int = 0
    forwards: int = 0
    prefill_ms: float = 0.0
    steps_ms: float = 0.0
    total_ms: float = 0.0
    shown: bool | None = None
    rules: tuple[str, ...] = ()
    problem: str = ""


class System(Protocol):
    """Something that fills holes."""

    async def answer(self, item: Item) -> Mapping[str, Answer]:
        """Return the answer, in one or more readings by their names."""
        ...


def raw_of(name: str) -> str:
    """Return the name of the runtime's text as it is; a name may end in "@" and an adapter's."""
    system, at, adapter = name.partition("@")
    return f"{system}_raw{at}{adapter}"


def is_raw(name: str) -> bool:
    """Whether a reading is the runtime's text as it is."""
    return name.partition("@")[0].endswith("_raw")


def snapshot_of(row: Row) -> Snapshot:
    """Return a row as a document with nothing in its hole."""
    language = by_id(row.language)
    parsed = ParsedText(row.prefix + row.suffix, language.usable_grammar())
    return Snapshot(f"row:{row.id}", 1, parsed, language)


class RuntimeSystem:
    """A model behind a runtime process of its own.

    Readings: ``name`` is what the server would insert, ``raw_of(name)`` the runtime's own text.
    """

    def __init__(self, name: str, client: RuntimeClient, span: Span) -> None:
        """Take a client whose runtime serves the model."""
        self._name = name
        self._client = client
        self._span = span
        self._asked = 0

    async def answer(self, item: Item) -> Mapping[str, Answer]:
        """See ``System``.

        Raises:
            EvaluationError: The runtime cannot answer any row.
        """
        self._asked += 1
        outcome = await fill(
            snapshot_of(item.row),
            len(item.row.prefix),
            # Rows may end inside a word, where only a person who asks is answered.
            # What is measured is the model: nothing is mended, nothing held back.
            Options(document=str(self._asked), invoked=True, show_unsure=True, mend=None),
            self._client,
        )
        if outcome.silence in _FATAL:
            raise EvaluationError(f"The runtime cannot answer: {outcome.message}")
        if not outcome.candidates or outcome.times.runtime is None:
            nothing = Answer("", shown=False, problem=str(outcome.silence or outcome.declined))
            return {self._name: nothing, raw_of(self._name): nothing}
        return self._read(item, outcome)

    def _read(self, item: Item, outcome: Outcome) -> Mapping[str, Answer]:
        best, times = outcome.candidates[0], outcome.times
        assert times.runtime is not None
        size = self._span.size(item.row.prefix, best.raw) if best.raw else 0
        read = Answer(
            text=best.text,
            tokens=min(size + 1, self._span.tokens),
            forwards=best.steps,
            prefill_ms=times.runtime.prefill_ms,
            steps_ms=sum(times.runtime.step_ms),
            total_ms=times.total_ms,
            shown=best.verdict.accepted,
            rules=best.verdict.trimmed,
        )
        raw = Answer(
            text=best.raw,
            tokens=read.tokens,
            forwards=read.forwards,
            prefill_ms=read.prefill_ms,
            steps_ms=read.steps_ms,
            total_ms=read.total_ms,
        )
        return {self._name: read, raw_of(self._name): raw}


@dataclass(frozen=True, slots=True)
class Running:
    """A runtime that is ready, and what it says of itself."""

    client: RuntimeClient
    span: Span
    status: Status


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """Give the runtimes started here a directory that no editor looks into."""
    before = os.environ.get(DIRECTORY_VARIABLE)
    path = Path(tempfile.mkdtemp(prefix="dgemma-eval-"))
    os.environ[DIRECTORY_VARIABLE] = str(path)
    try:
        yield path
    finally:
        if before is None:
            del os.environ[DIRECTORY_VARIABLE]
        else:
            os.environ[DIRECTORY_VARIABLE] = before
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def running(
    model: str, directory: Path, *, device: str = "auto", dtype: str = "auto", threads: int = 0
) -> AsyncIterator[Running]:
    """Start a model's runtime, have it fill a hole once, and end it afterwards.

    Raises:
        RuntimeUnavailable: It cannot be started.
        EvaluationError: A setting is wrong, or the model cannot be loaded.
    """
    spec = resolve_spec(model)
    fields = {"model": model, "device": device, "dtype": dtype, "threads": threads}
    fields |= {"idleUnloadS": 0, "idleExitS": _ORPHANED_S}
    try:
        settings = msgspec.convert(fields, RuntimeSettings)
    except msgspec.ValidationError as error:
        raise EvaluationError(f"The runtime does not take these settings: {error}") from error
    release = importlib.metadata.version("dgemma")
    client = RuntimeClient(settings, (), directory, release, "dgemma eval")
    span = Span(load_codec(spec.folder / "tokenizer.json"), spec.layout.span_tokens)
    try:
        await client.welcome()
        # The model is loaded by the first request, and slower in it than in any other.
        for _ in range(2):
            await RuntimeSystem("", client, span).answer(span.item(_WARM_UP))
        status = await client.status()
        assert status is not None
        yield Running(client, span, status)
    finally:
        # Nobody else knows of this runtime.
        with contextlib.suppress(Exception):
            await client.stop_runtime()
        await client.close()
