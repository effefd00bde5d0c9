"""A very small language whose programs say everything twice, and rows with holes cut from them.

A program is a few units: a function and a test of it, a type and its fields, nested lists and a
test of them, names and the same names from the last to the first. How many names there are, which,
and the nesting of brackets is drawn, and told in a unit twice; such a *fact* has a name here, and
every token knows the facts it tells. So it can be said of a hole whether the text around it
determines what belongs there, and rows are cut only where that is so. How long a middle is only
both sides together tell. No name is in two units, and a name always comes with the blank before it,
so that copying is what a small model learns soon.

Held-out programs are told by their checksum, so no seed can make one for training. Needs the
``tokenizers`` library for the vocabulary, and no torch.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models

CANVAS = 64
MAX_MIDDLE = 24
"""Tokens of the longest hole."""

PAD, EOS, BOS, UNK = "<pad>", "<eos>", "<bos>", "<unk>"
SPECIAL = (PAD, EOS, BOS, UNK)

# fmt: off
NAMES: tuple[str, ...] = (
    "red", "blue", "green", "size", "width", "height", "left", "right", "top", "total", "count",
    "item", "key", "value", "name", "text", "start", "end", "first", "last", "mix", "load", "save",
    "find", "sort", "move", "scale", "paint", "point", "shape", "color", "frame", "line", "page",
    "word", "node", "edge", "path", "file", "user", "time", "date", "hour", "unit", "rate", "cost",
    "sum", "part",
)
KEYWORDS = ("let", "test", "return", "put", "type", "keep", "list", "flip", "pair")
INNER = (" is", " as", " [", " =")
# fmt: on
_SEEN_AFTER = 32
"""A fact counts as told behind a hole when it is told in as many tokens of what follows."""
_HELD_OUT = 16


@dataclass(frozen=True, slots=True)
class Token:
    """A token's text, and the facts that it tells."""

    text: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A hole: ``middle`` is what belongs between the two, of ``tokens`` tokens.

    The blank of a middle that starts with a word stands at the end of ``prefix``, as before a
    cursor, and is a part of the middle's first token all the same.
    """

    prefix: str
    middle: str
    suffix: str
    tokens: int


@dataclass(slots=True)
class _Unit:
    """A unit being written; ``say`` takes tokens with one blank between two of them."""

    number: int
    stream: random.Random
    unused: list[str]
    tokens: list[Token] = field(default_factory=list)

    def say(self, *texts: str, facts: tuple[str, ...] = ()) -> None:
        told = tuple(f"{self.number}.{fact}" for fact in facts)
        self.tokens.extend(Token(text, told) for text in texts)

    def names(self, least: int, most: int) -> list[str]:
        """Draw names that the program does not have yet."""
        count = min(self.stream.randint(least, most), len(self.unused))
        return [self.unused.pop() for _ in range(count)]

    def listed(self, names: list[str], kind: str) -> None:
        """Say names one after another."""
        for i, name in enumerate(names):
            self.say(f" {name}", facts=(f"{kind}{i}",))


def _function(unit: _Unit) -> None:
    """Say a function and a test that repeats its arguments and its result."""
    head, body = unit.names(2, 5), unit.names(1, 5)
    result = unit.names(1, 1) if unit.stream.random() < 0.4 else []
    unit.say("let")
    unit.listed(head, "head")
    unit.say(":", "\n", "\t")
    if result:
        unit.say("put")
        unit.listed(result, "result")
        unit.say(" as")
        unit.listed(body, "body")
        unit.say("\n", "\t", "return")
        unit.listed(result, "result")
    else:
        unit.say("return")
        unit.listed(body, "body")
    unit.say("\n", "test")
    unit.listed(head, "head")
    unit.say(" is")
    unit.listed(body, "body")
    unit.say("\n")


def _type(unit: _Unit) -> None:
    """Say a type that keeps each of its fields, a line for each."""
    name, fields = unit.names(1, 1), unit.names(1, 5)
    unit.say("type")
    unit.listed(name, "name")
    unit.listed(fields, "field")
    unit.say(":", "\n")
    for i, each in enumerate(fields):
        unit.say("\t", "keep", f" {each}", "\n", facts=(f"field{i}",))


def _nested(unit: _Unit) -> None:
    """Say nested lists and a test that repeats them."""
    stream = unit.stream
    name, names = unit.names(1, 1), unit.names(2, 7)
    parts: list[str] = [" ["]
    depth = 1
    for each in names:
        if depth < 3 and stream.random() < 0.3:
            parts.append(" [")
            depth += 1
        parts.append(f" {each}")
        if depth > 1 and stream.random() < 0.4:
            parts.append("]")
            depth -= 1
    parts += ["]"] * depth
    for start, middle in (("list", " ="), ("test", " is")):
        unit.say(start)
        unit.listed(name, "name")
        unit.say(middle)
        for i, part in enumerate(parts):
            unit.say(part, facts=(f"part{i}",))
        unit.say("\n")


def _flip(unit: _Unit) -> None:
    """Say names, and again from the last to the first."""
    names = unit.names(2, 6)
    unit.say("pair")
    unit.listed(names, "name")
    unit.say("\n", "flip")
    for i in reversed(range(len(names))):
        unit.say(f" {names[i]}", facts=(f"name{i}",))
    unit.say("\n")


_UNITS: tuple[Callable[[_Unit], None], ...] = (_function, _function, _type, _nested, _flip)


@dataclass(frozen=True, slots=True)
class Program:
    """Tokens, and where each unit of them starts."""

    tokens: tuple[Token, ...]
    starts: tuple[int, ...]

    @property
    def text(self) -> str:
        """The program's text."""
        return "".join(token.text for token in self.tokens)

    @property
    def held_out(self) -> bool:
        """No training sees it."""
        return zlib.crc32(self.text.encode()) % _HELD_OUT == 0

    def determined(self, start: int, end: int) -> bool:
        """Say whether all facts of a range of tokens are told around it, and near behind it."""
        around = {f for t in self.tokens[:start] for f in t.facts}
        around |= {f for t in self.tokens[end : end + _SEEN_AFTER] for f in t.facts}
        return all(f in around for t in self.tokens[start:end] for f in t.facts)

    def hole(self, stream: random.Random, attempts: int = 40) -> tuple[int, int] | None:
        """Draw a determined range of tokens within one unit; ``None`` when none was met."""
        ends = (*self.starts[1:], len(self.tokens))
        length = 0
        for attempt in range(attempts):
            if attempt % 10 == 0:
                length = stream.randint(1, MAX_MIDDLE)
            unit = stream.randrange(len(self.starts))
            first, last = self.starts[unit], ends[unit]
            start = stream.randint(first, last - 1)
            end = start + length
            # Of a unit that is gone nothing tells the kind.
            if end <= last and length <= (last - first) * 2 // 3 and self.determined(start, end):
                return start, end
        return None


def make_program(stream: random.Random) -> Program:
    """Draw a program of one to four units."""
    tokens: list[Token] = []
    starts: list[int] = []
    unused = stream.sample(NAMES, len(NAMES))
    enough = stream.randint(5, 60)
    while len(tokens) < enough and len(unused) > 12:
        if tokens:
            tokens.append(Token("\n"))
        unit = _Unit(len(starts), stream, unused)
        stream.choice(_UNITS)(unit)
        starts.append(len(tokens))
        tokens += unit.tokens
    return Program(tuple(tokens), tuple(starts))


def programs(seed: int, *, held_out: bool) -> random.Random:
    """Return the stream that belongs to a seed, for training or for held-out programs."""
    return random.Random(f"{seed} {held_out}")


def draw_program(stream: random.Random, *, held_out: bool) -> Program:
    """Draw programs until one is of the wanted kind."""
    while (program := make_program(stream)).held_out is not held_out:
        pass
    return program


def rows(seed: int, count: int) -> list[Row]:
    """Return held-out rows; the same seed makes the same."""
    stream = programs(seed, held_out=True)
    made: list[Row] = []
    while len(made) < count:
        program = draw_program(stream, held_out=True)
        hole = program.hole(stream)
        if hole is None:
            continue
        texts = [token.text for token in program.tokens]
        start, end = hole
        prefix, middle, suffix = (
            "".join(part) for part in (texts[:start], texts[start:end], texts[end:])
        )
        if texts[start][:1] == " " != texts[start][1:2]:
            prefix, middle = prefix + " ", middle[1:]
        made.append(Row(prefix, middle, suffix, end - start))
    return made


def vocabulary() -> list[str]:
    """Return every token's text in the order of their ids, the special ones first."""
    characters = ["\n", "\t", *map(chr, range(32, 127))]
    return [*SPECIAL, *KEYWORDS, *(f" {name}" for name in NAMES), *INNER, *characters]


def make_tokenizer() -> Tokenizer:
    """Make the tokenizer: the fewest tokens that spell a text, one a character where no word fits.

    Decoding is the exact reverse. A character outside of ASCII is unknown.
    """
    pieces = vocabulary()
    scores = [(piece, -3.0 if len(piece) == 1 else -1.0) for piece in pieces]
    # Text that reads like a control token is none: spelling it is dearer than its characters.
    scores[: len(SPECIAL)] = [(token, -100.0) for token in SPECIAL]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=SPECIAL.index(UNK), byte_fallback=False))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Write ``tokenizer.json`` into a folder."""
    make_tokenizer().save(str(folder / "tokenizer.json"))
