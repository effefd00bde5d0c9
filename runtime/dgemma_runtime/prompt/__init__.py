"""The text before the canvas: how a model is shown what it is to do.

Pure text in, text out; the training builds its examples with the same functions, so that a model
is asked in the words it was trained with. Knows no tokens.
"""

from __future__ import annotations

from dgemma_runtime.prompt.base import Control, Part, Prompt, PromptLayout
from dgemma_runtime.prompt.gemma import GEMMA
from dgemma_runtime.prompt.raw import RAW
from dgemma_wire.errors import ModelError

__all__ = ["GEMMA", "RAW", "Control", "Part", "Prompt", "PromptLayout", "layout_named"]

_LAYOUTS: dict[str, PromptLayout] = {"raw": RAW, "gemma": GEMMA}


def layout_named(name: str) -> PromptLayout:
    """Return the layout a ``model.json`` names.

    Raises:
        ModelError: There is none of that name.
    """
    if name not in _LAYOUTS:
        raise ModelError(f"No prompt layout is called {name!r}; there are {', '.join(_LAYOUTS)}.")
    return _LAYOUTS[name]
