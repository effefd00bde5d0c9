"""The text before the canvas: how a model is shown what it is to do.

Pure text in, text out; the training builds its examples with the same functions, so that a model
is asked in the words it was trained with. Knows no tokens: how much of the file fits is ``text``'s
business, which may shorten ``Prompt.file`` at its start and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Rewrite


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text before a canvas.

    Attributes:
        file: The file's own text, of which the end matters most.
        block: What must follow it whole; empty for a plain fill.
    """

    file: str
    block: str = ""

    @property
    def text(self) -> str:
        """The two as one text."""
        return self.file + self.block


class PromptLayout(Protocol):
    """One way to ask a model."""

    def lay_out(self, prefix: str, rewrite: Rewrite | None) -> Prompt:
        """Return the text before the canvas of a fill, or of a rewrite.

        Raises:
            DenoiseFailed: ``bad_request``: the rewrite cannot be laid out.
        """
        ...


class RawLayout:
    """For base models, which know files: a rewrite looks like a conflict between two versions.

    The old lines stand under the instruction, the canvas is the new ones, and the file goes on
    behind it.
    """

    def lay_out(self, prefix: str, rewrite: Rewrite | None) -> Prompt:
        """See ``PromptLayout``."""
        if rewrite is None:
            return Prompt(prefix)
        _check(prefix, rewrite)
        return Prompt(prefix, f"<<<<<<< {rewrite.instruction}\n{rewrite.original}\n=======\n")


RAW = RawLayout()

_LAYOUTS: dict[str, PromptLayout] = {"raw": RAW}


def layout_named(name: str) -> PromptLayout:
    """Return the layout a ``model.json`` names.

    Raises:
        ModelError: There is none of that name.
    """
    if name not in _LAYOUTS:
        raise ModelError(f"No prompt layout is called {name!r}; there are {', '.join(_LAYOUTS)}.")
    return _LAYOUTS[name]


def _check(prefix: str, rewrite: Rewrite) -> None:
    wrong = None
    if not rewrite.instruction.strip() or len(rewrite.instruction.splitlines()) > 1:
        wrong = "The instruction of a rewrite is one line of text."
    elif rewrite.original.endswith("\n"):
        wrong = "The original of a rewrite comes without its last line break."
    elif prefix and not prefix.endswith("\n"):
        wrong = "A rewrite starts at the start of a line; the text before it ends inside one."
    if wrong is not None:
        raise DenoiseFailed(FailureCode.BAD_REQUEST, wrong)
