"""Rewrites of selected lines, asked as the language server asks, and how often they are right.

Made from a corpus, in the words that a menu shows. Knows no rows and no averages over systems.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dgemma_lsp.infill import rewrite as asked
from dgemma_lsp.infill.blocks import Block
from dgemma_lsp.infill.types import Declined, Snapshot
from dgemma_lsp.languages import by_id
from dgemma_lsp.pipeline import Options, to_ask
from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_lsp.syntax.tree import ParsedText
from dgemma_training.documents import Document, Split, read_documents
from dgemma_training.evaluation.intervals import Interval, ratio
from dgemma_training.evaluation.items import EvaluationError
from dgemma_training.rewrites import KINDS, LANGUAGES, Rewrite, find_rewrites, is_done
from dgemma_wire.errors import DenoiseFailed
from dgemma_wire.messages import RewriteKind

_PER_FILE = 1
"""Rewrites of one kind from one file at most: those of a file are alike."""


@dataclass(frozen=True, slots=True)
class Task:
    """One rewrite of one document."""

    document: Document
    rewrite: Rewrite


class RewriteResult(msgspec.Struct, frozen=True, kw_only=True):
    """How often a kind of rewrite came out right.

    Attributes:
        system: Who answered.
        kind: Name of the kind.
        languages: Languages it was asked in.
        instruction: The words of the menu.
        asked: How many were asked for.
        declined: How many were too long to ask the model, counted as not done.
        success: Share that the server shows and the checker finds done; intervals over packages.
        done: Share that the checker finds done, shown or not.
        shown: Share that the server shows.
    """

    system: str
    kind: str
    languages: list[str]
    instruction: str
    asked: int
    declined: int
    success: Interval | None
    done: Interval | None
    shown: Interval | None


@dataclass(frozen=True, slots=True)
class RewriteOutcome:
    """What came of one rewrite."""

    system: str
    task: Task
    done: bool = False
    shown: bool = False
    declined: bool = False


def find_tasks(
    corpus: Path, split: Split, each: int, seed: int, kinds: Collection[str] | None = None
) -> list[Task]:
    """Find rewrites in a corpus, ``each`` per kind and language family, from different files.

    ``kinds`` names the only ones; ``None`` takes all.

    Raises:
        EvaluationError: There is no corpus.
    """
    rng = random.Random(seed)  # noqa: S311 - the tasks must be the same each time
    try:
        documents = list(read_documents(corpus, split=split, languages=LANGUAGES))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"{corpus} holds no corpus: make one with `dgemma train collect`."
        ) from error
    rng.shuffle(documents)
    offers = {key: offer for key, offer in _offers().items() if kinds is None or key[0] in kinds}
    found: Counter[tuple[str, str]] = Counter()
    tasks: list[Task] = []
    for document in documents:
        family = _family(document.language)
        wanted = {name for name, of in offers if of == family and found[name, of] < each}
        if not wanted:
            continue
        here: Counter[str] = Counter()
        for rewrite in find_rewrites(document.text, document.language, rng):
            if rewrite.kind not in wanted or here[rewrite.kind] >= _PER_FILE:
                continue
            if not _in_menu(rewrite, offers[rewrite.kind, family], document.language):
                continue
            here[rewrite.kind] += 1
            found[rewrite.kind, family] += 1
            tasks.append(Task(document, rewrite))
    return tasks


async def ask_rewrite(name: str, client: RuntimeClient, task: Task, number: int) -> RewriteOutcome:
    """Ask for a rewrite; ``number`` tells its document from the others'.

    Raises:
        RuntimeUnavailable: The runtime went away.
    """
    rewrite, document = task.rewrite, task.document
    language = by_id(document.language)
    text = rewrite.before(document.text)
    parsed = ParsedText(text, language.usable_grammar())
    snapshot = Snapshot(f"rewrite:{number}", 1, parsed, language)
    end = rewrite.start + len(rewrite.original)
    selection = asked.select(snapshot, rewrite.start, end)
    welcome = await client.welcome()
    if isinstance(selection, Declined):
        return RewriteOutcome(name, task, declined=True)
    block = Block.of(selection)
    canvas = asked.lay_out(snapshot, block, rewrite.instruction, welcome.limits)
    if isinstance(canvas, Declined):
        return RewriteOutcome(name, task, declined=True)
    try:
        answer = await client.denoise(to_ask(canvas, Options(document=f"rewrite{number}")))
    except DenoiseFailed:
        return RewriteOutcome(name, task, declined=True)
    best = answer.candidates[0]
    new, verdict = asked.check(snapshot, selection, best.texts[0], ended=best.complete)
    # What was selected may be less than what the rewrite names: blank lines at its ends.
    lines = text[rewrite.start : selection.start] + new + text[selection.end : end]
    done = is_done(
        rewrite.kind,
        rewrite.original,
        lines,
        rewrite.replacement,
        language=document.language,
        before=text[: rewrite.start],
        after=text[end:],
    )
    return RewriteOutcome(name, task, done=done, shown=verdict.accepted)


def results_of(outcomes: Sequence[RewriteOutcome]) -> list[RewriteResult]:
    """Return a result per system, kind and language family."""
    groups: dict[tuple[str, str, str], list[RewriteOutcome]] = {}
    for outcome in outcomes:
        family = _family(outcome.task.document.language)
        groups.setdefault((outcome.system, family, outcome.task.rewrite.kind), []).append(outcome)
    offers = _offers()
    return [
        _result(system, offers[kind, family], groups[system, family, kind])
        for system, family, kind in sorted(groups)
    ]


def _result(name: str, offer: RewriteKind, outcomes: Sequence[RewriteOutcome]) -> RewriteResult:
    clusters = [outcome.task.document.package for outcome in outcomes]
    return RewriteResult(
        system=name,
        kind=offer.kind,
        languages=sorted({outcome.task.document.language for outcome in outcomes}),
        instruction=offer.instruction,
        asked=len(outcomes),
        declined=sum(outcome.declined for outcome in outcomes),
        success=ratio([float(o.done and o.shown) for o in outcomes], clusters),
        done=ratio([float(o.done) for o in outcomes], clusters),
        shown=ratio([float(o.shown) for o in outcomes], clusters),
    )


def _offers() -> dict[tuple[str, str], RewriteKind]:
    """Return each kind as a model would offer it, by name and language family."""
    return {
        (kind.name, _family(kind.languages[0])): RewriteKind(
            kind=kind.name,
            instruction=kind.instructions[0],
            success=0.0,
            languages=kind.languages,
        )
        for kind in KINDS
    }


def _family(language: str) -> str:
    return "python" if language == "python" else "script"


def _in_menu(rewrite: Rewrite, offer: RewriteKind, language: str) -> bool:
    """Whether a rewrite is asked for in the words of the menu, as the server does."""
    found = asked.find_instruction(rewrite.instruction, by_id(language), [offer])
    return found == rewrite.instruction
