"""Editors over stdio with a scripted runtime: the settings they start with, and their fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from support.editors import Editor
from support.runtimes import COMMAND

Start = Callable[..., Awaitable[Editor]]


def settings(**more: Any) -> dict[str, Any]:
    """Return settings under which the scripted engine answers at once."""
    return {
        "runtimeCommand": list(COMMAND),
        "runtime": {"model": "scripted"},
        "debounceMs": 0,
        **more,
    }


async def starting(run_dir: Path) -> AsyncIterator[Start]:
    """Yield what starts editors, and stop them all afterwards; the body of a fixture."""
    editors: list[Editor] = []

    async def one(config: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Editor:
        config = settings() if config is None else config
        editor = await Editor.start(config, *args, log=run_dir / "lsp.log", **kwargs)
        editors.append(editor)
        return editor

    yield one
    for editor in editors:
        await editor.stop()
