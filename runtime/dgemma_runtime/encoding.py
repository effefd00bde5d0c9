"""From the texts of a request to the tokens of a canvas, and of what is read before it.

Owns the seams, the budget of a prompt and the prefix's left edge. One blank before a span belongs
to the span, because tokenizers of code glue a blank to the word after it, so a prefix that ends in
a blank would ask for a token the model has rarely seen. So does the head of a word that the cursor
stands in: its own token is given back, and the span's first one must begin with its text. Knows no
tensors and no model beyond its numbers.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dgemma_runtime.canvas import ClampedIds, FreeSlots
from dgemma_runtime.prompt import Prompt
from dgemma_runtime.text import MAX_CHARS_PER_TOKEN, Codec, SpanText
from dgemma_wire.errors import DenoiseFailed, FailureCode
from dgemma_wire.messages import Clamped, Free, Segment

_WORD = re.compile(r"\w")
_HEAD = re.compile(r" ?\w+")
_SEAM_CHARS = 64
"""How far before a span its last token is looked for; words are shorter."""

_FAR_STEPS = 8
"""The room of text from elsewhere shrinks by this fraction of the whole as the file's text grows:
when some of it has to go, what stands behind it is read again."""


@dataclass(frozen=True, slots=True)
class StartSlots:
    """A span that begins as a text, before it is drawn which of its tokens are noise.

    Attributes:
        ids: The text's tokens.
        noise: Share of them that is noise at first, over 0 up to 1.
        tokens: Positions of the span; ``None`` for the text's own number and some to spare.
    """

    ids: tuple[int, ...]
    noise: float
    tokens: int | None = None


EncodedSegment: TypeAlias = ClampedIds | FreeSlots | StartSlots


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request in tokens; one ``SpanText`` per free segment, in order."""

    prefix_ids: Sequence[int]
    segments: tuple[EncodedSegment, ...]
    spans: tuple[SpanText, ...]


def encode_request(
    codec: Codec,
    prompt: Prompt,
    segments: Sequence[Segment],
    *,
    prefix_tokens: int,
    tail_tokens: int,
    start_ids: tuple[int, ...] = (),
    heal_words: bool = False,
) -> EncodedRequest:
    """Turn a request's texts into tokens.

    Clamped text before the first span joins the prefix: the causal pass reads it at no cost to
    the canvas.

    Args:
        codec: The model's tokenizer.
        prompt: Text before the canvas.
        segments: The canvas, first to last.
        prefix_tokens: Tokens the prompt is cut to, those of ``Prompt.after`` not counted.
        tail_tokens: Tokens wanted of the text after the last span.
        start_ids: Special tokens the model wants before every prefix.
        heal_words: Give the last token of a word before the first span to it; whoever denoises must
            then let only tokens stand there that begin with it. Not for a span of a named number
            of positions.

    Raises:
        DenoiseFailed: ``context_too_long`` when what may not be cut has more than
            ``prefix_tokens``.
    """
    first = next((i for i, s in enumerate(segments) if isinstance(s, Free)), len(segments))
    last = max((i for i, s in enumerate(segments) if isinstance(s, Free)), default=-1)
    before = "".join(s.text for s in segments[:first] if isinstance(s, Clamped))
    file, block = prompt.file, prompt.block
    file, block = (file, block + before) if prompt.whole else (file + before, block)
    given = ""
    if first < len(segments):
        # Who names a number of positions means those of the text that is to come.
        span = segments[first]
        heal_words = heal_words and isinstance(span, Free) and span.tokens is None
        if block:
            block, given = _give(codec, block, words=heal_words)
        else:
            file, given = _give(codec, file, words=heal_words)
    begins = given not in ("", " ")

    encoded: list[EncodedSegment] = []
    spans: list[SpanText] = []
    ends = True
    for i in range(first, len(segments)):
        segment = segments[i]
        if isinstance(segment, Free):
            spans.append(SpanText(given, segment.max_lines, begins=begins))
            encoded.append(_slots(codec, segment, given))
            given, begins = "", False
            continue
        text = segment.text
        if i > last:
            text = text[: tail_tokens * MAX_CHARS_PER_TOKEN]
            ends = ends and text == segment.text
        elif isinstance(segments[i + 1], Free):
            text, given = _give(codec, text, words=False)
        encoded.append(ClampedIds(tuple(codec.encode(text))))
    if ends and prompt.closing:
        encoded.append(ClampedIds(tuple(codec.encode_parts(prompt.closing))))
    room = prefix_tokens - len(start_ids)
    prefix_ids = start_ids + tuple(_encode_prompt(codec, prompt, file, block, room))
    return EncodedRequest(prefix_ids, tuple(encoded), tuple(spans))


def _give(codec: Codec, text: str, *, words: bool) -> tuple[str, str]:
    """Take what belongs to the span behind it off the end of ``text``; return both."""
    if text.endswith(" "):
        return text[:-1], " "
    if not words or not _WORD.fullmatch(text[-1:]):
        return text, ""
    last = codec.encode(text[-_SEAM_CHARS:])[-1:]
    given = codec.decode(last)
    if not _HEAD.fullmatch(given) or not text.endswith(given):
        return text, ""
    return text.removesuffix(given), given


def _slots(codec: Codec, segment: Free, given: str) -> FreeSlots | StartSlots:
    if not segment.start:
        return FreeSlots(segment.tokens)
    ids = codec.encode(given + segment.start)
    return StartSlots(tuple(ids), segment.noise, segment.tokens)


def _encode_prompt(codec: Codec, prompt: Prompt, file: str, block: str, limit: int) -> list[int]:
    """Return the tokens of a prompt: what is whole, then the file's text, then what is far.

    Pieces of the far text are encoded each by itself and keep their place at the head, so that
    they are read once while the file's text grows.
    """
    opening, lead, turn = (
        codec.encode_parts(parts) for parts in (prompt.opening, prompt.lead, prompt.turn)
    )
    room = limit - len(opening) - len(lead) - len(turn)
    if room < 0:
        raise _too_long(limit - room, limit)
    near = cut_prefix(codec, file, room, block)
    step = max(1, limit // _FAR_STEPS)
    left = room + -len(near) // step * step
    far: list[int] = []
    for piece in prompt.pieces:
        if len(piece) > left * MAX_CHARS_PER_TOKEN:
            break
        ids = codec.encode(piece)
        left -= len(ids)
        if left < 0:
            break
        far += ids
    after = cut_after(codec, prompt.after, prompt.after_tokens)
    return [*opening, *far, *lead, *after, *turn, *near]


def cut_after(codec: Codec, text: str, limit: int) -> list[int]:
    """Return the tokens of the start of ``text``, at most ``limit`` of them, to the end of a line.

    Of a first line that is longer than that as much as fits is returned.
    """
    window = text[: limit * MAX_CHARS_PER_TOKEN]
    encoding = codec.tokenizer.encode(window, add_special_tokens=False)
    if len(encoding.ids) <= limit and len(window) == len(text):
        return encoding.ids
    if not limit:
        return []
    end = encoding.offsets[min(limit, len(encoding.ids)) - 1][1]
    line = window.rfind("\n", 0, end)
    return codec.encode(window[:line])[:limit] if line > 0 else encoding.ids[:limit]


def cut_prefix(codec: Codec, text: str, limit: int, kept: str = "") -> list[int]:
    """Return the tokens of the end of ``text`` and all of ``kept``, at most ``limit`` of them.

    The cut is made before a line, and the line is chosen by its content, not by its distance from
    the end: of the lines whose start leaves between three quarters of the room and all of it, the
    one with the largest checksum (winnowing, Schleimer et al. 2003). So the left edge stays where
    it is while text is added at the end, and the prefix cache keeps hitting.

    Raises:
        DenoiseFailed: ``context_too_long`` when ``kept`` alone has more tokens than ``limit``.
    """
    window = text[-limit * MAX_CHARS_PER_TOKEN :] if limit else ""
    # One text for the tokenizer: what it makes of the seam is what it makes of it in training.
    encoding = codec.tokenizer.encode(window + kept, add_special_tokens=False)
    total = len(encoding.ids)
    file = bisect_left(encoding.offsets, len(window), key=lambda offsets: offsets[0])
    room = limit - (total - file)
    if room < 0:
        raise _too_long(total - file, limit)
    if not file or (total <= limit and len(window) == len(text)):
        return encoding.ids

    low = encoding.offsets[max(0, file - room)][0] if room else len(window)
    high = encoding.offsets[max(file - room * 3 // 4, file // 4)][0] if room else 0
    best: tuple[int, int] | None = None
    start = window.find("\n", low) + 1
    while 0 < start <= high:
        end = window.find("\n", start)
        line = window[start : end if end >= 0 else len(window)]
        rank = zlib.crc32(line.encode("utf-8", "replace"))
        # A line without content stands in many places, which makes it a poor mark.
        if line.strip() and (best is None or rank > best[0]):
            best = (rank, start)
        start = end + 1
    if best is None:
        return encoding.ids[total - limit :]
    return codec.encode(window[best[1] :] + kept)[-limit:]


def _too_long(tokens: int, limit: int) -> DenoiseFailed:
    return DenoiseFailed(
        FailureCode.CONTEXT_TOO_LONG,
        f"The text to rewrite and its instruction take {tokens} tokens; the model reads "
        f"{limit}. Select fewer lines.",
    )
