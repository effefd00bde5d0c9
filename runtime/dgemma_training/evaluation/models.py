"""Which models answer: the one named, and temporary folders with one thing about it changed.

Owns ``model.json`` as a file. Starts nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgemma_runtime.models import resolve_spec
from dgemma_training.evaluation.items import EvaluationError
from dgemma_wire.adapters import WEIGHTS_FILE

PRODUCT = "product"
LEFT_TO_RIGHT = "left_to_right"
PARALLEL = "parallel"
BASE = "base"
BASE_CUT = "base_cut"
SHIPPED = "shipped"

_NEVER_EXCEEDED = 1.1


@dataclass(frozen=True, slots=True)
class Choice:
    """One system that is asked for.

    Attributes:
        name: For tables.
        run_confidence: What a token of a run must exceed; ``None`` leaves it to the model.
        base: It is the untouched base instead of the canvas model.
    """

    name: str
    run_confidence: float | None = None
    base: bool = False


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter to put into a model; without ``file`` it keeps its own."""

    name: str
    file: Path | None = None


def kept(adapters: Sequence[Adapter], folder: Path) -> tuple[Adapter, ...]:
    """Return the adapters as copies, since a training that goes on replaces its own."""
    copies: list[Adapter] = []
    for number, adapter in enumerate(adapters):
        copy = None
        if adapter.file is not None:
            copy = folder / f"adapter{number}.safetensors"
            shutil.copyfile(adapter.file, copy)
        copies.append(Adapter(adapter.name, copy))
    return tuple(copies)


def choice_named(text: str) -> Choice:
    """Read the name of a system.

    Raises:
        EvaluationError: There is none of that name.
    """
    kind, _, number = text.partition(":")
    if not number and kind in (BASE, BASE_CUT):
        return Choice(BASE, base=True)
    if not number and kind == PRODUCT:
        return Choice(PRODUCT)
    if not number and kind == LEFT_TO_RIGHT:
        return Choice(LEFT_TO_RIGHT, _NEVER_EXCEEDED)
    try:
        if kind == PARALLEL:
            return Choice(text, float(number))
    except ValueError:
        pass
    raise EvaluationError(
        f"No system is called {text!r}; there are {PRODUCT}, {LEFT_TO_RIGHT}, "
        f"{PARALLEL}:THRESHOLD (such as {PARALLEL}:0.7) and {BASE}."
    )


def adapters_named(texts: Sequence[str]) -> tuple[Adapter, ...]:
    """Read ``FILE``, ``NAME=FILE`` or ``shipped``; one alone needs no name.

    Raises:
        EvaluationError: A file is missing, or two have the same name.
    """
    found: list[Adapter] = []
    for text in texts:
        name, _, file = text.rpartition("=")
        if file == SHIPPED:
            found.append(Adapter(name or SHIPPED))
            continue
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise EvaluationError(f"There is no adapter {path}.")
        usual = path.parent.name if path.name == WEIGHTS_FILE else path.stem
        found.append(Adapter(name or usual, path))
    names = [adapter.name for adapter in found]
    if len(set(names)) < len(names):
        raise EvaluationError(f"Two adapters are called alike ({', '.join(names)}): use NAME=FILE.")
    return tuple(found)


def make_folder(
    model: str,
    target: Path,
    *,
    adapter: Path | None = None,
    sampler: Mapping[str, object] | None = None,
    max_span: int | None = None,
) -> Path:
    """Make a model folder that differs from another in what is given; returns it.

    Args:
        model: As the setting ``model`` names it.
        target: Made; its files are links.
        adapter: In place of the model's own.
        sampler: Fields of the sampler to replace.
        max_span: Slots that the longest span may have.

    Raises:
        ModelError: There is no such model, or its file cannot be read.
        EvaluationError: It is none of dgemma's own format, or the result is none.
    """
    folder = resolve_spec(model).folder
    card = read_card(folder)
    if isinstance(card.get("base"), dict) and "folder" in card["base"]:
        # Relative to the model's own folder, which the new one is not.
        card["base"]["folder"] = str((folder / Path(card["base"]["folder"]).expanduser()).resolve())
    if adapter is not None:
        card.pop("rewrite_adapter", None)  # it stands in for all that the model has
    card["sampler"] |= dict(sampler or {})
    if max_span is not None:
        card["layout"]["max_span_tokens"] = max_span
    target.mkdir(parents=True)
    (target / "model.json").write_text(json.dumps(card), encoding="utf-8")
    for path in folder.iterdir():
        if path.suffix in (".json", ".safetensors") and path.name != "model.json":
            _link(path, target / path.name)
    if adapter is not None:
        (target / WEIGHTS_FILE).unlink(missing_ok=True)
        _link(adapter, target / WEIGHTS_FILE)
    resolve_spec(str(target))
    return target


def read_card(folder: Path) -> dict[str, Any]:
    """Read a folder's ``model.json``.

    Raises:
        EvaluationError: There is none.
    """
    try:
        return json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"{folder} has no model.json: only models of dgemma's own format can be changed."
        ) from error


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combinations(
    choices: Sequence[Choice], adapters: Sequence[Adapter]
) -> Iterator[tuple[Choice, Adapter, str]]:
    """Yield every system with every adapter and a name for both; the base once."""
    for choice in choices:
        if choice.base:
            yield choice, Adapter(""), choice.name
            continue
        for adapter in adapters or (Adapter(""),):
            plain = len(adapters) < 2
            yield choice, adapter, choice.name if plain else f"{choice.name}@{adapter.name}"


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # Windows, without the right to make links
        shutil.copyfile(source, target)
