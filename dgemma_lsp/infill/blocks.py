"""The lines of a rewrite shared out among canvases: what stays, and what is written where.

Lines that are pinned stay. The others are runs; one that is longer than a canvas is cut where a
statement ends, at blank lines if there are any, and never within a line. Offsets and the syntax
tree only; nothing here knows what a model answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import tree_sitter

from dgemma_lsp.infill.capture import Limits
from dgemma_lsp.infill.types import Selection, Snapshot
from dgemma_lsp.syntax.scope import indent_width, opens_block
from dgemma_lsp.syntax.tree import Excerpt

_LENGTH_SLACK = 1.5
"""Indented code packs more characters into a token than is typical, and some rewrites shorten.
What is too long all the same is seen when the answer does not end."""

_LEAST_FILL = 0.4
"""Share of a canvas that a block fills at least, where there is a choice of where to cut."""

_INSIDE_STATEMENT = 1_000
"""What a cut inside a statement costs; one step of nesting costs 2, a missing blank line 3."""

_CLOSERS = ("}", ")", "]")

_SPARE_TOKENS = 16
_DENSE = 1.5
"""Tokens of a span beyond its old text, and how many more a text may have than is typical."""


class RewriteLimits(Limits, Protocol):
    """The numbers of a model that blocks must keep to."""

    @property
    def max_span_tokens(self) -> int:
        """Positions of the longest span."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines for one canvas, from the start of the first to the end of the last.

    Attributes:
        start: Where they begin.
        end: Where they end, without the last line break.
        runs: What is written anew of them, in order; there is text on lines between two runs.
    """

    start: int
    end: int
    runs: tuple[Selection, ...]

    @classmethod
    def of(cls, *runs: Selection) -> Block:
        """The block from the first run to the last."""
        return cls(runs[0].start, runs[-1].end, runs)


def runs_of(
    snapshot: Snapshot, selection: Selection, pinned: Iterable[tuple[int, int]]
) -> tuple[Selection, ...]:
    """The lines of a selection that no pinned range of offsets touches.

    A run begins and ends with text; blank lines at its ends stay as they are.
    """
    parsed = snapshot.parsed
    first, last = parsed.lines.line(selection.start), parsed.lines.line(selection.end)
    kept: set[int] = set()
    for one, other in pinned:
        low, high = (parsed.lines.line(at) for at in sorted((one, other)))
        if high > low and max(one, other) == parsed.lines.start(high):
            high -= 1  # up to the start of a line: as editors select whole ones
        kept.update(range(max(low, first), min(high, last) + 1))
    return tuple(_runs(snapshot, [line for line in range(first, last + 1) if line not in kept]))


def _runs(snapshot: Snapshot, free: list[int]) -> Iterator[Selection]:
    """Neighbouring lines with text on both ends, of those numbered ``free``."""
    lines: list[int] = []
    for line in [*free, -1]:
        if lines and line != lines[-1] + 1:
            yield from _trimmed(snapshot, lines)
            lines = []
        lines.append(line)


def _trimmed(snapshot: Snapshot, lines: list[int]) -> Iterator[Selection]:
    said = [line for line in lines if snapshot.parsed.line_text(line).strip()]
    if said:
        parsed = snapshot.parsed
        yield Selection(parsed.lines.start(said[0]), parsed.line_span(said[-1])[1])


def share_out(
    snapshot: Snapshot, runs: Iterable[Selection], limits: RewriteLimits, *, together: bool
) -> tuple[tuple[Block, ...], tuple[Selection, ...]]:
    """Blocks for runs, in order, and the lines that no canvas can hold.

    Args:
        snapshot: The document.
        runs: What is to be written anew.
        limits: The model's numbers.
        together: Runs with pinned lines between them share a canvas where they fit; otherwise
            each has its own, as models need that only know rewrites of one run of lines.
    """
    blocks: list[Block] = []
    too_long: list[Selection] = []
    for run in runs:
        pieces = [run] if _fits(run, limits) else _cut(snapshot, run, limits)
        for piece in pieces:
            if not _fits(piece, limits):
                too_long.append(piece)
                continue
            joined = Block.of(*blocks[-1].runs, piece) if blocks else None
            first = piece is pieces[0]  # the pieces of one run have nothing between them
            if joined is not None and first and together and _one_canvas(snapshot, joined, limits):
                blocks[-1] = joined
            else:
                blocks.append(Block.of(piece))
    return tuple(blocks), tuple(too_long)


def span_tokens(snapshot: Snapshot, block: Block, limits: RewriteLimits) -> tuple[int, ...]:
    """Positions for each run of a block: as many as the canvas has room for."""
    if len(block.runs) == 1:
        return (limits.max_span_tokens,)
    least = [_tokens(run.end - run.start, limits) + _SPARE_TOKENS for run in block.runs]
    spare = max(0, limits.canvas_tokens - sum(least) - _between(snapshot, block, limits))
    return tuple(
        min(limits.max_span_tokens, tokens + spare // (2 * len(least))) for tokens in least
    )


def _fits(run: Selection, limits: RewriteLimits) -> bool:
    tokens = int((run.end - run.start) / limits.chars_per_token)
    return tokens <= limits.max_span_tokens * _LENGTH_SLACK


def _one_canvas(snapshot: Snapshot, block: Block, limits: RewriteLimits) -> bool:
    wanted = [_tokens(run.end - run.start, limits) + _SPARE_TOKENS for run in block.runs]
    if sum(wanted) + _between(snapshot, block, limits) > limits.canvas_tokens:
        return False
    return all(tokens <= limits.max_span_tokens for tokens in wanted)


def _between(snapshot: Snapshot, block: Block, limits: RewriteLimits) -> int:
    """Positions that the lines between the runs take up, and some of what follows them."""
    gaps = sum(after.start - before.end for before, after in pairwise(block.runs))
    return _tokens(gaps, limits) + len(block.runs) + _SPARE_TOKENS


def _tokens(characters: int, limits: RewriteLimits) -> int:
    return int(characters / limits.chars_per_token * _DENSE) + 1


# -- where to cut -------------------------------------------------------------------------------


def _cut(snapshot: Snapshot, run: Selection, limits: RewriteLimits) -> list[Selection]:
    """Pieces of a run that fit, as far as its lines do; each begins and ends with text."""
    parsed = snapshot.parsed
    most = int(limits.max_span_tokens * limits.chars_per_token)
    last = parsed.lines.line(run.end)
    price = _prices(snapshot, run)
    pieces: list[Selection] = []
    line = parsed.lines.line(run.start)
    while line <= last:
        start = parsed.lines.start(line)
        ends = [line + 1]
        while ends[-1] <= last and parsed.line_span(ends[-1])[1] - start <= most:
            ends.append(ends[-1] + 1)
        if ends[-1] > last:
            cut = last + 1
        else:
            full = [e for e in ends if parsed.line_span(e - 1)[1] - start >= most * _LEAST_FILL]
            cut = min(full or ends, key=lambda end: (price(end), -end))
        pieces += _trimmed(snapshot, list(range(line, cut)))
        line = cut
    return pieces


def _prices(snapshot: Snapshot, run: Selection) -> Callable[[int], int]:
    """What it costs to cut before a line; the fewer the better."""
    parsed = snapshot.parsed
    excerpt = parsed.excerpt(run.start, run.end)

    def price(line: int) -> int:
        text, above = parsed.line_text(line), parsed.line_text(line - 1)
        if not text.strip():
            return _INSIDE_STATEMENT  # the line below it is as good, and better to begin with
        cost = 3 if above.strip() else 0
        closer = snapshot.language.block_closer
        if text.lstrip().startswith((*_CLOSERS, closer or "}")) or opens_block(
            above, snapshot.language
        ):
            cost += 3  # the border of a block belongs to it
        nested = _nesting(snapshot, excerpt, run, line)
        return cost + (indent_width(text) if nested is None else nested)

    return price


def _nesting(snapshot: Snapshot, excerpt: Excerpt, run: Selection, line: int) -> int | None:
    """How deep in the tree two lines part, and whether inside a statement; ``None`` without one."""
    tree = excerpt.parsed.tree
    if tree is None:
        return None
    parsed = snapshot.parsed
    shift = excerpt.offset - run.start
    above = line - 1
    while above > 0 and not parsed.line_text(above).strip():
        above -= 1
    end = parsed.lines.start(above) + len(parsed.line_text(above).rstrip())
    text = parsed.line_text(line)
    start = parsed.lines.start(line) + len(text) - len(text.lstrip())
    low, high = excerpt.parsed.byte_at(end - 1 + shift), excerpt.parsed.byte_at(start + shift)
    node = tree.root_node.descendant_for_byte_range(low, high + 1)
    if node is None:
        return None
    depth = _depth(tree, node)
    listed = node.id == tree.root_node.id or node.type in snapshot.language.block_nodes
    return 2 * depth + (0 if listed else _INSIDE_STATEMENT)


def _depth(tree: tree_sitter.Tree, node: tree_sitter.Node) -> int:
    depth = 0
    at = tree.root_node
    while at.id != node.id:
        inner = at.child_with_descendant(node)
        if inner is None:
            break
        at, depth = inner, depth + 1
    return depth
