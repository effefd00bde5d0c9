"""The layout for base models, which know files and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from dgemma_runtime.prompt.base import Prompt, check_rewrite
from dgemma_wire.messages import Rewrite


class RawLayout:
    """A fill is the file up to the canvas; a rewrite looks like a conflict between two versions.

    The old lines stand under the instruction, the canvas is the new ones, and the file goes on
    behind it. Pieces from elsewhere stand before the file, each with a blank line behind it.
    """

    controls: tuple[str, ...] = ()
    after_tokens = 0

    def lay_out(
        self,
        prefix: str,
        rewrite: Rewrite | None,
        context: Sequence[str] = (),
        after: str = "",
    ) -> Prompt:
        """See ``PromptLayout``; what stands behind a canvas is in the canvas."""
        pieces = tuple(piece.rstrip("\r\n") + "\n\n" for piece in context if piece.strip())
        if rewrite is None:
            return Prompt(prefix, pieces=pieces)
        check_rewrite(prefix, rewrite)
        block = f"<<<<<<< {rewrite.instruction}\n{rewrite.original}\n=======\n"
        return Prompt(prefix, block, whole=True, pieces=pieces)


RAW = RawLayout()
