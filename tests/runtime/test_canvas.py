from __future__ import annotations

import pytest

from dgemma_runtime.canvas import NO_TOKEN, ClampedIds, FreeSlots, Layout, lay_out, read_span
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


def test_a_span_is_read_up_to_its_end_token() -> None:
    assert read_span([1, 2, 3, 16, 4], (1, 5), {16}) == (2, 3)
    assert read_span([1, 2, 3], (1, 3), {16}) == (2, 3)
