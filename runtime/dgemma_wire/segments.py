"""The canvas of a request: what of it is known text, and what is to be denoised."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Tagged(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag=str.lower
):
    """Base of all messages.

    On the wire keys are camelCase, as in the JSON that part of this becomes, and the tag is the
    class name in lower case.
    """


class Clamped(Tagged, frozen=True, kw_only=True):
    """Known text: its tokens are written back after every denoise step."""

    text: str


class Free(Tagged, frozen=True, kw_only=True):
    """A span to denoise.

    Attributes:
        tokens: Number of positions for the span; ``None`` leaves it to the model.
        max_lines: Lines the text may take up; the span ends at the newline after the last of them.
        start: Text that the span begins as, in place of noise alone; ``None`` for none. With it
            ``tokens`` of ``None`` is the text's own number and some to spare.
        noise: Share of the start's tokens that are noise at first, over 0 up to 1, drawn by the
            seed. With a mask token the others stay; with uniform noise they may still change.
    """

    tokens: int | None = None
    max_lines: int | None = None
    start: str | None = None
    noise: float = 1.0


class Kept(Tagged, frozen=True, kw_only=True):
    """Tokens of a draft's span that stay as they are, clamped; see ``Renoise``.

    A blank that they bring to the front of a text is taken for one the document has there already.

    Attributes:
        start: First token, counted from 0 as in ``Candidate.tokens`` of that span.
        end: The token after the last one.
    """

    start: int
    end: int


class Rewrite(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the first free segment stands in for, and what is to be done with it.

    Attributes:
        instruction: One line, in the words of a ``RewriteKind``.
        original: Whole lines without the last line break.
    """

    instruction: str
    original: str


Segment: TypeAlias = Clamped | Free
Piece: TypeAlias = Kept | Clamped | Free
