"""Rewrites with a short instruction and an answer that a machine can check.

They are made from real code by syntax-tree transforms, to train and to measure "rewrite
selection". ``find_rewrites`` and ``sample_rewrite`` make them, ``is_done`` judges an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import TypeVar

from dgemma_training.rewrites.base import Kind, Rewrite, Source, rewrites_of
from dgemma_training.rewrites.check import same_python
from dgemma_training.rewrites.python_kinds import PYTHON_KINDS
from dgemma_training.rewrites.python_source import PythonSource
from dgemma_training.rewrites.script_code import same_script
from dgemma_training.rewrites.script_kinds import SCRIPT_KINDS
from dgemma_training.rewrites.script_source import LANGUAGES as SCRIPT_LANGUAGES
from dgemma_training.rewrites.script_source import ScriptSource

__all__ = ["KINDS", "LANGUAGES", "Kind", "Rewrite", "find_rewrites", "is_done", "sample_rewrite"]

KINDS: tuple[Kind[PythonSource] | Kind[ScriptSource], ...] = (*PYTHON_KINDS, *SCRIPT_KINDS)
"""Every kind; a name may come back for another language."""

LANGUAGES = frozenset(language for kind in KINDS for language in kind.languages)
"""Language ids that have kinds."""

_S = TypeVar("_S", bound=Source)


def find_rewrites(text: str, language: str, rng: Random) -> list[Rewrite]:
    """Every rewrite of a text, shuffled; none where the text does not parse."""
    found: list[Rewrite] = []
    if language in SCRIPT_LANGUAGES:
        script = ScriptSource.of(text, language)
        if script is not None:
            for kind in _of_language(SCRIPT_KINDS, language):
                found += rewrites_of(kind, script, rng)
    elif language in LANGUAGES:
        python = PythonSource.of(text)
        if python is not None:
            for kind in PYTHON_KINDS:
                found += rewrites_of(kind, python, rng)
    rng.shuffle(found)
    return found


def sample_rewrite(
    text: str, language: str, rng: Random, names: Collection[str] | None = None
) -> Rewrite | None:
    """One rewrite of a text; ``None`` where no kind applies or the text does not parse.

    The kind is drawn first, so that kinds with many places in a text are not drawn more often.

    Args:
        text: The text.
        language: Language id of the editor protocol.
        rng: Decides every draw.
        names: Only kinds of these names; ``None`` for all.
    """
    if language in SCRIPT_LANGUAGES:
        script = ScriptSource.of(text, language)
        kinds = _named(_of_language(SCRIPT_KINDS, language), names)
        return None if script is None else next(_drawn(kinds, script, rng), None)
    python = PythonSource.of(text) if language in LANGUAGES else None
    kinds = _named(PYTHON_KINDS, names)
    return None if python is None else next(_drawn(kinds, python, rng), None)


def _named(kinds: Sequence[Kind[_S]], names: Collection[str] | None) -> list[Kind[_S]]:
    return [kind for kind in kinds if names is None or kind.name in names]


def _of_language(kinds: Sequence[Kind[_S]], language: str) -> list[Kind[_S]]:
    return [kind for kind in kinds if language in kind.languages]


def _drawn(kinds: Sequence[Kind[_S]], source: _S, rng: Random) -> Iterator[Rewrite]:
    """At most one rewrite of each kind; heavier kinds tend to come first."""
    order = sorted(kinds, key=lambda kind: rng.random() ** (1 / kind.weight), reverse=True)
    for kind in order:
        yield from rewrites_of(kind, source, rng, most=1)


def is_done(
    kind: str,
    original: str,
    answer: str,
    expected: str,
    *,
    language: str = "python",
    before: str = "",
    after: str = "",
) -> bool:
    """Whether an answer to a rewrite does what was asked.

    Args:
        kind: Name of the kind.
        original: The selected lines.
        answer: What came back for them; whole lines.
        expected: The rewrite's replacement.
        language: Language id of the editor protocol.
        before: The text before the selection, where there is any; cut at a line's start.
        after: The text after the selection, from its newline.

    Raises:
        ValueError: There is no such kind for the language.
    """
    if not any(known.name == kind and language in known.languages for known in KINDS):
        raise ValueError(f"no kind of rewrite {kind!r} for {language!r}")
    answer = answer.strip("\n").rstrip()
    if not answer.strip() or answer == original:
        return False
    if language in SCRIPT_LANGUAGES:
        return same_script(answer, expected, language, before=before, after=after)
    return same_python(kind, answer, expected, before=before, after=after)
