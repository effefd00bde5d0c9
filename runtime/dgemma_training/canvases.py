"""From source text to canvases: windows of tokens, and spans of them laid out as the runtime does.

Owns the agreement with ``dgemma_runtime.encoding`` and ``.canvas``: one blank before a
span belongs to it, the last prefix token stands at the canvas's head, slots behind the span's end
hold the fill token, the suffix follows. Knows nothing of noise, tensors or losses.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from dgemma_runtime.prompt import RAW
from dgemma_training.documents import Document
from dgemma_training.rewrites import sample_rewrite
from dgemma_training.spans import Mix, SpanSampler
from dgemma_wire.messages import Rewrite

_CHARS_PER_TOKEN = 8  # a bound, not a mean: windows are cut by tokens
_FIRST_CUT = 40  # tokens of a window before its first span, so that there is a prefix to read
_MAX_PARTIAL = 3  # pieces of a token that the cursor cuts in two
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one batch.

    Attributes:
        name: For logs.
        windows: Windows, each read once by the causal pass.
        canvases: Canvases cut from each window.
        tokens: Tokens of a window.
        slots: Free positions of a canvas.
        length: Rows of a canvas: head, slots and suffix.
        rewrite: The windows end in a rewrite's instruction; one canvas each.
    """

    name: str
    windows: int
    canvases: int
    tokens: int
    slots: int
    length: int
    rewrite: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One canvas before noise.

    Attributes:
        start: Position of its first row: tokens of the window it sees.
        head: Clean rows before the span.
        middle: The span's tokens; fewer than the slots.
        tail: Clean rows after the slots.
        aligned: First tokens of ``middle`` that the window holds at the same positions, so that
            the causal pass has predicted them too.
    """

    start: int
    head: tuple[int, ...]
    middle: tuple[int, ...]
    tail: tuple[int, ...]
    aligned: int


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens for the causal pass, and the canvases that continue from inside them."""

    ids: tuple[int, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class CanvasCutter:
    """Cuts windows and canvases from documents; deterministic by the generator it is given."""

    tokenizer: Tokenizer
    mix: Mix
    rewrite_kinds: Collection[str] | None = None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``, no special ones added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def fill_window(self, document: Document, shape: Shape, rng: random.Random) -> Window | None:
        """Cut one window with ``shape.canvases`` spans; ``None`` where the text yields none."""
        text = document.text
        begin = 0
        room = len(text) - shape.tokens * 3
        if room > 0 and rng.random() > 0.15:
            begin = text.rfind("\n", 0, rng.randrange(room)) + 1
        part = text[begin : begin + shape.tokens * _CHARS_PER_TOKEN]
        encoding = self.tokenizer.encode(part, add_special_tokens=False)
        ids = encoding.ids[: shape.tokens]
        if len(ids) < _FIRST_CUT * 2:
            return None
        offsets = encoding.offsets
        low, high = begin + offsets[_FIRST_CUT][0], begin + offsets[len(ids) - 2][0]
        sampler = SpanSampler(text, document.language)
        ends = [end for _, end in offsets[: len(ids)]]
        examples: list[Example] = []
        for _ in range(shape.canvases * _TRIES):
            span = sampler.sample(rng, low, high, self.mix)
            if span is None:
                continue
            start, end = span.start, span.end
            if start > 0 and text[start - 1] == " ":
                start -= 1
            place = bisect.bisect_right(ends, start - begin)  # the first token that ends behind it
            if not 2 <= place < len(ids):
                continue
            token_start = offsets[place][0]
            partial = part[token_start : start - begin] if token_start < start - begin else ""
            example = self._lay_out((ids, place), partial, text[start:end], text[end:], shape)
            if example is not None:
                examples.append(example)
            if len(examples) == shape.canvases:
                return Window(tuple(ids), tuple(examples))
        return None

    def rewrite_window(self, document: Document, shape: Shape, rng: random.Random) -> Window | None:
        """Cut one window that ends in a rewrite's instruction; ``None`` where none applies."""
        rewrite = sample_rewrite(document.text, document.language, rng, self.rewrite_kinds)
        if rewrite is None:
            return None
        before = document.text[: rewrite.start]
        asked = Rewrite(instruction=rewrite.instruction, original=rewrite.original)
        block = self.encode(RAW.lay_out("", asked).block)
        room = min(shape.tokens - len(block), rng.randrange(32, shape.tokens))
        if room < 0:
            return None
        cut = max(0, len(before) - room * _CHARS_PER_TOKEN)
        context = self.encode(before[before.rfind("\n", 0, cut) + 1 if cut else 0 :])[-room:]
        ids = (context if room else []) + block
        example = self._lay_out(
            (ids, len(ids)),
            "",
            rewrite.replacement,
            document.text[rewrite.end :],
            shape,
        )
        return None if example is None else Window(tuple(ids), (example,))

    def _lay_out(
        self,
        place: tuple[Sequence[int], int],
        partial: str,
        middle: str,
        suffix: str,
        shape: Shape,
    ) -> Example | None:
        ids, at = place
        pieces = self.encode(partial) if partial else []
        content = self.encode(middle)
        if len(content) >= shape.slots or len(pieces) > _MAX_PARTIAL:
            return None
        head = (ids[at - 1], *pieces)
        room = shape.length - len(head) - shape.slots
        tail = self.encode(suffix[: room * _CHARS_PER_TOKEN])[:room]
        aligned = 0
        if not partial:
            for token, seen in zip(content, ids[at:], strict=False):
                if token != seen:
                    break
                aligned += 1
        return Example(at - 1, head, tuple(content), tuple(tail), aligned)
