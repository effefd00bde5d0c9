"""From text to tokens and back: the tokenizer, the lines of a span, the characters of a token.

Knows the ``tokenizers`` library and nothing of requests, tensors or models.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from dgemma_runtime.prompt import Control, Part
from dgemma_wire.errors import ModelError

# No tokenizer of ours makes much more than this of a character of source code; a bound on what
# is tokenised at all, so that a long document costs no more than a short one.
MAX_CHARS_PER_TOKEN = 8

_CONTROL = re.compile(r"<\|[^\s<>|]+\|?>|<[^\s<>|]+\|>")


@dataclass(frozen=True)
class Codec:
    """A tokenizer, with the special tokens never read from source text."""

    tokenizer: Tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``, no special ones added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_parts(self, parts: Iterable[Part]) -> list[int]:
        """Return the tokens of texts and of control tokens between them.

        Raises:
            ModelError: The tokenizer has no control token of such a name.
        """
        ids: list[int] = []
        for part in parts:
            if isinstance(part, Control):
                ids.append(self.control(part.name))
            else:
                ids += self.encode(part)
        return ids

    def control(self, name: str) -> int:
        """Return the id of a control token.

        Raises:
            ModelError: There is none of that name.
        """
        found = self.tokenizer.token_to_id(name)
        if found is None:
            raise ModelError(f"The tokenizer has no control token {name!r}.")
        return found

    @cached_property
    def _sorted(self) -> tuple[list[str], list[int]]:
        texts = self.tokenizer.decode_batch([[i] for i in range(self.tokenizer.get_vocab_size())])
        pairs = sorted((text, token) for token, text in enumerate(texts) if text)
        return [text for text, _ in pairs], [token for _, token in pairs]

    def beginning_with(self, text: str) -> list[int]:
        """Return the tokens whose text begins with ``text``, which is not empty."""
        texts, ids = self._sorted
        start = bisect_left(texts, text)
        end = bisect_left(texts, True, lo=start, key=lambda found: not found.startswith(text))
        return ids[start:end]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``; a character cut in two becomes the replacement character."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def load_codec(path: Path, controls: Iterable[str] = ()) -> Codec:
    """Read a ``tokenizer.json``.

    Args:
        path: The file.
        controls: Control tokens that it must have.

    Raises:
        ModelError: The file is missing or no tokenizer, or lacks one of them.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for every kind of failure
        raise ModelError(f"The tokenizer {path} cannot be read: {error}") from error
    named = tuple(controls)
    missing = [name for name in named if tokenizer.token_to_id(name) is None]
    if missing:
        raise ModelError(
            f"The tokenizer {path} lacks the control tokens {', '.join(missing)}, with which this "
            "model is asked. It belongs to another model."
        )
    # Otherwise "<|endoftext|>" in a source file would become the control token of that name. Only
    # tokens that are marked as special are safe from that, and not every file marks all of them.
    added = (token.content for token in tokenizer.get_added_tokens_decoder().values())
    steering = {*named, *filter(_CONTROL.fullmatch, added)}
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in sorted(steering)]
    )
    tokenizer.encode_special_tokens = True
    return Codec(tokenizer)


@dataclass(frozen=True, slots=True)
class SpanText:
    """How the tokens of one span become its text.

    Attributes:
        given: Text before the span that was given to it and must be taken off again: one blank, or
            the token that a word began with.
        begins: The span's first token must begin with that text.
        max_lines: Lines the text of its free pieces may take up.
        complete: What a text that does not end in a free piece counts as.
    """

    given: str
    max_lines: int | None
    complete: bool = True
    begins: bool = False


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
    """Return the text of a span's tokens: what was given to it off, extra lines cut."""
    return cut_lines(codec.decode(ids).removeprefix(span.given), span.max_lines)


def spell(codec: Codec, ids: Sequence[int], given: str = "") -> tuple[str, list[int]]:
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
    if text.startswith(given):
        text, surplus = text[len(given) :], len(given)
        for i, count in enumerate(chars):
            chars[i] = max(0, count - surplus)
            surplus -= count - chars[i]
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
