"""What a prompt is: parts of a text, and how much of each may be lost for want of room.

Pure text. Control tokens are named, never spelled: a layout says where one stands, and text of the
user's that reads the same is text all the same. How many tokens a part has and what fits is
``encoding``'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dgemma_wire.errors import DenoiseFailed, FailureCode
from dgemma_wire.messages import Rewrite


@dataclass(frozen=True, slots=True)
class Control:
    """A control token of the model's, by the name its tokenizer has for it."""

    name: str


Part: TypeAlias = str | Control


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text before a canvas, in the order in which the model reads it, but for the first two.

    Attributes:
        file: The file's own text up to the canvas, of which the end matters most; shortened at its
            start, and for want of room only.
        block: What must follow it whole.
        whole: Clamped text at the canvas's start goes to ``block``, else to ``file``.
        opening: Comes first, whole.
        pieces: Text from elsewhere, as far as ``file`` leaves room; the last ones give way first.
        lead: Follows them, whole.
        after: The file's text behind the canvas; shortened at its end.
        after_tokens: Most tokens of it, which are not taken from the room of the others.
        turn: Stands between that and ``file``, whole.
        closing: Clamped behind the file's text in the canvas when all of that has room.
    """

    file: str
    block: str = ""
    whole: bool = False
    opening: tuple[Part, ...] = ()
    pieces: tuple[str, ...] = ()
    lead: tuple[Part, ...] = ()
    after: str = ""
    after_tokens: int = 0
    turn: tuple[Part, ...] = ()
    closing: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """The file's text and what follows it."""
        return self.file + self.block


class PromptLayout(Protocol):
    """One way to ask a model."""

    @property
    def controls(self) -> tuple[str, ...]:
        """The control tokens it names."""
        ...

    @property
    def after_tokens(self) -> int:
        """Most tokens it spends on the text behind a canvas."""
        ...

    def lay_out(
        self,
        prefix: str,
        rewrite: Rewrite | None,
        context: Sequence[str] = (),
        after: str = "",
    ) -> Prompt:
        """Return the text before the canvas of a fill, or of a rewrite.

        Args:
            prefix: The file's text before the canvas.
            rewrite: What the canvas replaces, if anything.
            context: Pieces of text from elsewhere, the most stable first.
            after: The file's text behind the last span.

        Raises:
            DenoiseFailed: ``bad_request``: the rewrite cannot be laid out.
        """
        ...


def check_rewrite(prefix: str, rewrite: Rewrite) -> None:
    """Check that a rewrite is of whole lines, by one line.

    Raises:
        DenoiseFailed: ``bad_request`` when it is not.
    """
    wrong = None
    if not rewrite.instruction.strip() or len(rewrite.instruction.splitlines()) > 1:
        wrong = "The instruction of a rewrite is one line of text."
    elif rewrite.original.endswith("\n"):
        wrong = "The original of a rewrite comes without its last line break."
    elif prefix and not prefix.endswith("\n"):
        wrong = "A rewrite starts at the start of a line; the text before it ends inside one."
    if wrong is not None:
        raise DenoiseFailed(FailureCode.BAD_REQUEST, wrong)
