"""The engine half of the runtime: ``make_engine`` and nothing else. No torch here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dgemma_runtime.engine.base import Engine
from dgemma_runtime.engine.diffusion import DiffusionEngine
from dgemma_runtime.models import resolve_spec
from dgemma_runtime.remote import is_remote
from dgemma_wire.settings import RuntimeSettings


def make_engine(
    settings: RuntimeSettings,
    *,
    cache_dir: Path | None = None,
    adapters_dir: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Engine:
    """Return the engine of the model that ``settings`` name; nothing is loaded or fetched yet.

    Args:
        settings: What the runtime was started with.
        cache_dir: Where fetched models are kept; ``None`` is the user's cache folder.
        adapters_dir: Where workspaces' adapters lie; ``None`` is the user's directory.
        clock: Seconds, monotonic; must be the one that stamps jobs.

    Raises:
        ModelError: ``settings.model`` names no model.
    """
    if is_remote(settings.model):
        from dgemma_runtime.remote.engine import RemoteEngine

        return RemoteEngine(settings, clock=clock)
    return DiffusionEngine(
        resolve_spec(settings.model),
        settings,
        cache_dir=cache_dir,
        adapters_dir=adapters_dir,
        clock=clock,
    )
