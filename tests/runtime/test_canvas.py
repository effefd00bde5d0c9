from __future__ import annotations

from collections.abc import Sequence

import pytest

from dgemma_runtime.canvas import (
    NO_TOKEN,
    ClampedIds,
    FreeSlots,
    Layout,
    PartSpan,
    lay_out,
    read_piece,
    read_span,
)
from dgemma_wire.errors import DenoiseFailed, FailureCode

LAYOUT = Layout(head_rows=1, span_tokens=4, tail_tokens=3, canvas_tokens=12, empty_head_id=9)


def test_one_span_between_head_and_cut_tail() -> None:
    prefix, canvas = lay_out([1, 2, 3], [FreeSlots(), ClampedIds((5, 6, 7, 8))], LAYOUT)
    assert prefix == (1, 2)
    assert canvas.ids == (3, *[NO_TOKEN] * 4, 5, 6, 7)
    assert canvas.spans == ((1, 5),)
    assert canvas.free == (False, True, True, True, True, False, False, False)


def test_an_empty_prefix_gets_the_models_own_head() -> None:
    prefix, canvas = lay_out([], [FreeSlots(2)], LAYOUT)
    assert prefix == ()
    assert canvas.ids == (9, NO_TOKEN, NO_TOKEN)


def test_several_spans_and_all_text_between_them() -> None:
    segments = [FreeSlots(2), ClampedIds((5, 6)), FreeSlots(1), ClampedIds((7,)), ClampedIds((8,))]
    prefix, canvas = lay_out([1], segments, LAYOUT)
    assert prefix == ()
    assert canvas.ids == (1, NO_TOKEN, NO_TOKEN, 5, 6, NO_TOKEN, 7, 8)
    assert canvas.spans == ((1, 3), (5, 6))


def test_the_tail_gives_way_to_the_canvas_limit() -> None:
    _, canvas = lay_out([1], [FreeSlots(10), ClampedIds((5, 6, 7))], LAYOUT)
    assert len(canvas.ids) == LAYOUT.canvas_tokens
    assert canvas.ids[-1] == 5


def test_a_canvas_without_a_span_is_refused() -> None:
    with pytest.raises(DenoiseFailed, match="no free segment") as caught:
        lay_out([1], [ClampedIds((5,))], LAYOUT)
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_a_span_of_no_positions_is_refused() -> None:
    with pytest.raises(DenoiseFailed) as caught:
        lay_out([1], [FreeSlots(0)], LAYOUT)
    assert caught.value.code is FailureCode.BAD_REQUEST


@pytest.mark.parametrize(
    "segments",
    [[FreeSlots(12)], [FreeSlots(2), ClampedIds((5,) * 9), FreeSlots(1)]],
)
def test_what_must_stay_whole_and_does_not_fit_is_refused(
    segments: list[ClampedIds | FreeSlots],
) -> None:
    with pytest.raises(DenoiseFailed, match="12") as caught:
        lay_out([1], segments, LAYOUT)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


def test_a_free_piece_is_read_up_to_its_end_token() -> None:
    assert read_piece([1, 2, 3, 16, 4], (1, 5), {16}) == (2, 3)
    assert read_piece([1, 2, 3], (1, 3), {16}) == (2, 3)


END, NEWLINE = 16, 10


def one_line(span: int, earlier: Sequence[int], ids: Sequence[int]) -> int | None:
    """A limit of one line, newlines being tokens of their own."""
    return ids.index(NEWLINE) + 1 if NEWLINE in ids else None


PARTS = PartSpan((ClampedIds((1,), (-0.5,)), FreeSlots(3), ClampedIds((2, 3)), FreeSlots(2)))


def test_a_span_of_several_pieces() -> None:
    _, canvas = lay_out([7], [FreeSlots(1), ClampedIds((6,)), PARTS, ClampedIds((5,) * 9)], LAYOUT)
    assert canvas.ids[:11] == (7, -1, 6, 1, -1, -1, -1, 2, 3, -1, -1)
    assert canvas.ids[11:] == (5,)  # what the canvas has room for
    assert canvas.spans == ((1, 2), (3, 11))
    assert canvas.pieces == (((1, 2),), ((4, 7), (9, 11)))
    assert canvas.log_probability[3] == -0.5
    assert sum(canvas.log_probability) == -0.5


def test_kept_text_at_the_end_of_a_span_is_no_tail() -> None:
    span = PartSpan((FreeSlots(1), ClampedIds((1, 2, 3, 4, 5))))
    _, canvas = lay_out([7], [span, ClampedIds((8,) * 9)], LAYOUT)
    assert canvas.ids == (7, -1, 1, 2, 3, 4, 5, 8, 8, 8)


def test_the_free_positions_of_a_span_are_bounded_not_the_kept_ones() -> None:
    layout = Layout(head_rows=1, span_tokens=4, tail_tokens=3, canvas_tokens=12, max_span_tokens=4)
    lay_out([1], [PartSpan((ClampedIds((1,) * 6), FreeSlots(2), FreeSlots(2)))], layout)
    with pytest.raises(DenoiseFailed, match=r"5 positions.*4 at most"):
        lay_out([1], [PartSpan((FreeSlots(2), ClampedIds((1,)), FreeSlots(3)))], layout)


@pytest.mark.parametrize(
    ("filled", "text", "ends", "cut", "ended"),
    [
        ([4, 5, 6, 7, 8], [1, 4, 5, 6, 2, 3, 7, 8], (), 0, False),
        ([4, END, 6, 7, END], [1, 4, 2, 3, 7], (3, 8), 0, True),
        ([END, 5, 6, END, 8], [1, 2, 3], (2, 7), 0, True),
        ([4, NEWLINE, 6, 7, 8], [1, 4, NEWLINE, 2, 3, 7, 8], (), 1, False),
        ([4, 5, 6, NEWLINE, 8], [1, 4, 5, 6, 2, 3, NEWLINE], (), 1, True),
    ],
)
def test_every_free_piece_ends_by_itself_and_what_follows_stays(
    filled: list[int], text: list[int], ends: tuple[int, ...], cut: int, ended: bool
) -> None:
    _, canvas = lay_out([7], [PARTS], LAYOUT)
    rest = iter(filled)
    ids = [next(rest) if token == NO_TOKEN else token for token in canvas.ids]
    found = read_span(canvas, 0, ids, {END}, one_line)
    assert [ids[i] for part in found.parts for i in range(*part)] == text
    assert found.ends == ends
    assert len(found.cut) == cut
    assert found.ended is ended
