"""From the texts of a request to tokens and back: seams, line limits, the prefix's left edge.

Knows the ``tokenizers`` library and nothing of tensors or models. The seam rules live here:
one blank before a span belongs to the span, because tokenizers of code glue a blank to the word
after it, so a prefix that ends in a blank would ask for a token the model has rarely seen.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer

from dgemma_runtime.canvas import ClampedIds, FreeSlots
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Clamped, Free, Segment

# No tokenizer of ours makes much more than this of a character of source code; a bound on what
# is tokenised at all, so that a long document costs no more than a short one.
MAX_CHARS_PER_TOKEN = 8


@dataclass(frozen=True, slots=True)
class Codec:
    """A tokenizer, with the special tokens never read from source text."""

    tokenizer: Tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``, no special ones added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``; a character cut in two becomes the replacement character."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def load_codec(path: Path) -> Codec:
    """Read a ``tokenizer.json``.

    Raises:
        ModelError: The file is missing or no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for every kind of failure
        raise ModelError(f"The tokenizer {path} cannot be read: {error}") from error
    # Otherwise "<|endoftext|>" in a source file would become the control token of that name.
    tokenizer.encode_special_tokens = True
    return Codec(tokenizer)


@dataclass(frozen=True, slots=True)
class SpanText:
    """How the tokens of one span become its text.

    Attributes:
        healed: The blank before the span was given to it and must be taken off again.
        max_lines: Lines the text of its free pieces may take up.
        complete: What a text that does not end in a free piece counts as.
    """

    healed: bool
    max_lines: int | None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request in tokens; one ``SpanText`` per free segment, in order."""

    prefix_ids: Sequence[int]
    segments: tuple[ClampedIds | FreeSlots, ...]
    spans: tuple[SpanText, ...]


def encode_request(
    codec: Codec,
    prefix: str,
    segments: Sequence[Segment],
    *,
    prefix_tokens: int,
    tail_tokens: int,
    start_ids: tuple[int, ...] = (),
    kept: str = "",
) -> EncodedRequest:
    """Turn a request's texts into tokens.

    Clamped text before the first span joins the prefix: the causal pass reads it at no cost to
    the canvas.

    Args:
        codec: The model's tokenizer.
        prefix: Text before the canvas.
        segments: The canvas, first to last.
        prefix_tokens: Tokens the prefix is cut to.
        tail_tokens: Tokens wanted of the text after the last span.
        start_ids: Special tokens the model wants before every prefix.
        kept: Text between prefix and canvas, of which nothing may be cut.

    Raises:
        DenoiseFailed: ``context_too_long`` when what may not be cut has more than
            ``prefix_tokens``.
    """
    first = next((i for i, s in enumerate(segments) if isinstance(s, Free)), len(segments))
    last = max((i for i, s in enumerate(segments) if isinstance(s, Free)), default=-1)
    before = "".join(s.text for s in segments[:first] if isinstance(s, Clamped))
    file, whole = (prefix, kept + before) if kept else (prefix + before, "")
    healed = False
    if first < len(segments):
        if whole:
            whole, healed = _give_blank(whole)
        else:
            file, healed = _give_blank(file)

    encoded: list[ClampedIds | FreeSlots] = []
    spans: list[SpanText] = []
    for i in range(first, len(segments)):
        segment = segments[i]
        if isinstance(segment, Free):
            spans.append(SpanText(healed, segment.max_lines))
            encoded.append(FreeSlots(segment.tokens))
            healed = False
            continue
        text = segment.text
        if i > last:
            text = text[: tail_tokens * MAX_CHARS_PER_TOKEN]
        elif isinstance(segments[i + 1], Free):
            text, healed = _give_blank(text)
        encoded.append(ClampedIds(tuple(codec.encode(text))))
    room = prefix_tokens - len(start_ids)
    return EncodedRequest(
        start_ids + tuple(cut_prefix(codec, file, room, whole)), tuple(encoded), tuple(spans)
    )


def _give_blank(text: str) -> tuple[str, bool]:
    """Take one blank off the end of ``text``; say whether there was one."""
    return (text[:-1], True) if text.endswith(" ") else (text, False)


def cut_prefix(codec: Codec, text: str, limit: int, kept: str = "") -> list[int]:
    """Return the tokens of the end of ``text`` and all of ``kept``, at most ``limit`` of them.

    The cut is made before a line, and the line is chosen by its content, not by its distance from
    the end: of the lines whose start leaves between three quarters of the room and all of it, the
    one with the largest checksum (winnowing, Schleimer et al. 2003). So the left edge stays where
    it is while text is added at the end, and the prefix cache keeps hitting.

    Raises:
        DenoiseFailed: ``context_too_long`` when ``kept`` alone has more tokens than ``limit``.
    """
    window = text[-limit * MAX_CHARS_PER_TOKEN :]
    # One text for the tokenizer: what it makes of the seam is what it makes of it in training.
    encoding = codec.tokenizer.encode(window + kept, add_special_tokens=False)
    total = len(encoding.ids)
    file = bisect_left(encoding.offsets, len(window), key=lambda offsets: offsets[0])
    room = limit - (total - file)
    if room < 0:
        raise DenoiseFailed(
            FailureCode.CONTEXT_TOO_LONG,
            f"The text to rewrite and its instruction take {total - file} tokens; the model reads "
            f"{limit}. Select fewer lines.",
        )
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
        return encoding.ids[-limit:]
    return codec.encode(window[best[1] :] + kept)[-limit:]


def complete_at(codec: Codec, ids: Sequence[int], max_lines: int | None) -> int | None:
    """Return how many of ``ids`` it takes to hold the newline after the last allowed line.

    ``None`` when the newline has not come, or any number of lines is allowed.
    """
    if max_lines is None or codec.decode(ids).count("\n") < max_lines:
        return None
    return next(n for n in range(1, len(ids) + 1) if codec.decode(ids[:n]).count("\n") >= max_lines)


def lines_left(codec: Codec, earlier: Sequence[int], max_lines: int | None) -> int | None:
    """Return the lines a free piece may take up behind the tokens of earlier ones.

    One at least: a piece behind others that used them up goes on in the line it stands in.
    """
    if max_lines is None or not earlier:
        return max_lines
    return max(1, max_lines - codec.decode(earlier).count("\n"))


def cut_tokens(codec: Codec, ids: Sequence[int], max_lines: int | None) -> list[int]:
    """Return the tokens of ``cut_lines`` of a text whose last token holds the newline cut at.

    That token gives way to those of what stands before the newline.
    """
    head = list(ids[:-1])
    before, text = codec.decode(head), cut_lines(codec.decode(ids), max_lines)
    rest = codec.encode(text.removeprefix(before)) if text.startswith(before) else []
    return [*head, *rest] if codec.decode([*head, *rest]) == text else head


def read_text(codec: Codec, ids: Sequence[int], span: SpanText) -> str:
    """Return the text of a span's tokens: the healed blank off, extra lines cut."""
    text = codec.decode(ids)
    if span.healed:
        text = text.removeprefix(" ")
    return cut_lines(text, span.max_lines)


def spell(codec: Codec, ids: Sequence[int], *, healed: bool) -> tuple[str, list[int]]:
    """Return the text of a span's tokens, and how many of its characters each of them makes.

    A token that is a part of a character makes none; the one that completes it does.
    """
    text = codec.decode(ids)
    chars: list[int] = []
    start = 0
    for end in range(1, len(ids) + 1):
        made = codec.decode(ids[start:end])
        if made.endswith("\N{REPLACEMENT CHARACTER}") and end < len(ids):
            chars.append(0)
            continue
        chars.append(len(made))
        start = end
    if sum(chars) != len(text):  # a tokenizer whose pieces read otherwise than the whole
        lengths = [0, *(len(codec.decode(ids[:end])) for end in range(1, len(ids) + 1))]
        lengths = [max(lengths[: i + 1]) for i in range(len(lengths))]
        chars = [min(b, len(text)) - min(a, len(text)) for a, b in pairwise(lengths)]
    if healed and text.startswith(" "):
        text = text[1:]
        first = next(i for i, count in enumerate(chars) if count)
        chars[first] -= 1
    return text, chars


def cut_lines(text: str, max_lines: int | None) -> str:
    """Return ``text`` up to the newline after its last allowed line, without that newline."""
    if max_lines is None:
        return text
    at = -1
    for _ in range(max_lines):
        at = text.find("\n", at + 1)
        if at < 0:
            return text
    return text[:at]
