"""Where a model's files are, and what is known of them without loading any. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dgemma_runtime.catalog import find
from dgemma_runtime.engine.base import LoadProgress
from dgemma_runtime.models.base import BaseFolder, ModelSpec
from dgemma_runtime.models.checkpoint_files import defects
from dgemma_wire.errors import ModelError


def locate_weights(
    spec: ModelSpec,
    report: Callable[[LoadProgress], None],
    *,
    offline: bool,
    cache_dir: Path | None = None,
) -> Path:
    """Return the path of the weights, a file or a folder, fetching them when that is possible.

    Raises:
        ModelError: They are missing or damaged; the text says what to do.
    """
    if isinstance(spec.base, BaseFolder):
        if not any(spec.base.folder.glob("*.safetensors")):
            raise ModelError(f"{spec.base.folder} holds no base weights (*.safetensors).")
        return spec.base.folder
    if spec.base is not None:
        # Here, not above: that module needs this package for its progress reports.
        from dgemma_runtime.embedded.base import ensure_base

        return ensure_base(spec.base, cache_dir=cache_dir, offline=offline, report=report)
    own = spec.folder / "base.safetensors"
    if own.is_file():
        return own
    if spec.architecture not in ("diffusion_gemma", "masked_sequence"):
        if not any(spec.folder.glob("*.safetensors")):
            raise ModelError(f"{spec.folder} holds no weights (*.safetensors).")
        if not (spec.folder / "tokenizer.json").is_file():
            raise ModelError(f"{spec.folder} holds no tokenizer.json.")
    elif wrong := defects(spec.folder):
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ModelError(
            f"The checkpoint in {spec.folder} is damaged: {'; '.join(wrong[:3])}{more}. "
            f"`dgemma models verify {spec.name if find(spec.name) else spec.folder}` looks at all "
            "of it; fetch or copy these files again."
        )
    return spec.folder


def describe_files(spec: ModelSpec, cache_dir: Path | None = None) -> dict[str, str]:
    """Return path and state of each of the model's files."""
    found = {"tokenizer": _describe(spec.folder / "tokenizer.json")}
    for path in sorted(spec.folder.glob("*.safetensors")):
        found[path.name] = _describe(path)
    if isinstance(spec.base, BaseFolder):
        for path in sorted(spec.base.folder.glob("*.safetensors")):
            found[f"base {path.name}"] = _describe(path)
    elif spec.base is not None:
        from dgemma_runtime.embedded.base import base_path, defect_of

        path = base_path(spec.base, cache_dir)
        defect = defect_of(path, spec.base)
        found["base"] = _describe(path) if defect is None else f"{path}: {defect}"
    return found


def _describe(path: Path) -> str:
    try:
        return f"{path}: {path.stat().st_size / 1e6:.1f} MB"
    except OSError as error:
        return f"{path}: {error.strerror}"
