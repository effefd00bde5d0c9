"""The plan of a repair: which tokens stay, which are denoised again, and what is mended by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.repairs.repair import (
    Draft,
    Keep,
    Redo,
    Scope,
    Write,
    assemble,
    by_hand,
    heads,
    lay_out,
    make_draft,
    plan,
)
from dgemma_lsp.infill.types import Fault, FaultPlace, RejectReason
from dgemma_lsp.languages import by_id

WRONG = RejectReason.ADDS_SYNTAX_ERROR


def draft_of(*tokens: str, sure: dict[int, float] | None = None, handle: int = 7) -> Draft:
    """A draft with these tokens, all sure but for some."""
    unsure = sure or {}
    return make_draft(
        "".join(tokens), [(len(t), unsure.get(i, 1.0)) for i, t in enumerate(tokens)], handle
    )


def fault(start: int, end: int, place: FaultPlace = FaultPlace.INSIDE, missing: str = "") -> Fault:
    return Fault(WRONG, start, end, place, missing)


def test_tokens_that_make_up_another_text_are_not_trusted() -> None:
    draft = make_draft("total = 1", [(3, 0.5)], 7)
    assert draft.handle == 0
    assert [draft.text[t.start : t.end] for t in draft.tokens] == ["total", " =", " 1"]


def frees(layouts: tuple[tuple[object, ...], ...]) -> list[list[int]]:
    return [[part.tokens for part in parts if isinstance(part, Redo)] for parts in layouts]


def test_only_the_faulty_tokens_are_denoised_again_in_several_lengths() -> None:
    draft = draft_of("total", " =", " (", " +", " +", " 2")
    first, *others = plan(draft, draft.text, [fault(7, 11)], 0)
    assert first == (Keep(0, 2), Redo(2), Keep(4, 6))
    assert frees((first, *others)) == [[2], [3], [1]]


def test_an_unsure_token_next_to_the_fault_goes_with_it() -> None:
    draft = draft_of("a", "b", "c", "d", "e", "f", sure={1: 0.2})
    assert plan(draft, draft.text, [fault(3, 4)], 0)[0] == (Keep(0, 1), Redo(3), Keep(4, 6))


def test_an_unsure_token_far_off_stays() -> None:
    draft = draft_of("a", "b", "c", "d", "e", "f", "g", sure={0: 0.2})
    assert plan(draft, draft.text, [fault(6, 7)], 0)[0][0] == Keep(0, 6)


def test_a_second_round_takes_the_line_and_a_third_all_that_follows() -> None:
    draft = draft_of("one", "\n", "two", "x", "\n", "three")
    wrong = [fault(5, 7)]
    assert plan(draft, draft.text, wrong, 1)[0] == (Keep(0, 2), Redo(2), Keep(4, 6))
    (last,) = plan(draft, draft.text, wrong, 2)
    assert (last[0], len(last)) == (Keep(0, 2), 2)
    assert frees((last,))[0][0] > 4  # where the draft ends the model has room to end it


def test_a_draft_that_ends_too_early_gets_more_positions() -> None:
    draft = draft_of("f", "(", "a")
    (parts,) = plan(draft, draft.text, [fault(3, 3, FaultPlace.AFTER)], 0)
    assert parts[0] == Keep(0, 3)
    assert frees((parts,))[0][0] > 4


def test_something_missing_between_tokens_is_room_for_it() -> None:
    draft = draft_of("f", "(", "a", "\n", "b")
    layouts = plan(draft, draft.text, [fault(3, 3, missing=")")], 0)
    assert layouts == ((Keep(0, 3), Redo(1), Keep(3, 5)),)


def test_what_the_rules_cut_off_stays_off() -> None:
    draft = draft_of("  ", "a", " +", " b", ")", ")")
    assert plan(draft, "a + b", [fault(1, 3)], 0)[0] == (Keep(0, 2), Redo(1), Keep(3, 4))


def test_half_a_token_is_written_as_text() -> None:
    draft = draft_of("a", " +", " b))")
    assert lay_out(draft, 5, [Scope(1, 3)]) == (Keep(0, 1), Redo(1), Write(" b"))


def test_line_breaks_of_the_document_are_mapped_back() -> None:
    draft = draft_of("one", "\n", "two", "\n", "three")
    layouts = plan(draft, "one\r\ntwo\r\nthree", [fault(5, 8)], 0)
    assert layouts[0] == (Keep(0, 2), Redo(1), Keep(3, 5))


def test_a_text_that_is_not_in_the_draft_has_no_plan() -> None:
    assert plan(draft_of("a", "b"), "other", [fault(0, 1)], 0) == ()


def test_a_text_that_only_repeats_is_denoised_whole() -> None:
    said = [Fault(RejectReason.REPEATS_LINE, 0, 3)]
    (parts,) = plan(draft_of("a", "b", "c"), "abc", said, 0)
    assert [type(part) for part in parts] == [Redo]


TOKENS = st.lists(st.text("ab (){}\n漢😀", min_size=1, max_size=4), min_size=1, max_size=12)


@given(tokens=TOKENS, data=st.data())
def test_a_layout_keeps_every_character_outside_its_scopes(
    tokens: list[str], data: st.DataObject
) -> None:
    draft = draft_of(*tokens)
    end = data.draw(st.integers(0, len(draft.text)))
    ends = sorted(data.draw(st.lists(st.integers(0, end), min_size=2, max_size=6)))
    scopes = [Scope(a, b) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    parts = lay_out(draft, end, scopes)
    answers = ["□" for part in parts if isinstance(part, Redo)]
    whole = assemble(draft, parts, answers)
    # What stands between the answers is the draft's own text, in order.
    at = 0
    for piece in whole.split("□"):
        at = draft.text[:end].index(piece, at) + len(piece)
    kept = {i for part in parts if isinstance(part, Keep) for i in range(part.first, part.last)}
    for i, token in enumerate(draft.tokens):
        touched = any(s.start < token.end and token.start < s.end for s in scopes)
        assert not (touched and i in kept)


@pytest.mark.parametrize(
    ("text", "faults", "mended"),
    [
        ("f(a", [fault(3, 3, FaultPlace.AFTER)], "f(a)"),
        ("f(a, [b", [fault(1, 7)], "f(a, [b])"),
        ("f(a))", [fault(4, 5)], "f(a)"),
        ('print("a', [fault(6, 8)], 'print("a"'),
        ("x = 1", [fault(5, 5, FaultPlace.AFTER, ":")], "x = 1:"),
        ("f(a b", [fault(3, 3, missing=",")], "f(a, b"),
    ],
)
def test_delimiters_are_mended_by_hand(text: str, faults: list[Fault], mended: str) -> None:
    assert mended in by_hand(text, faults, by_id("python"))


def test_no_word_is_put_in_by_hand() -> None:
    missing = [fault(0, 0, missing="identifier")]
    assert by_hand("a + b", missing, by_id("python")) == []


def test_heads_end_with_lines_the_longest_first() -> None:
    assert list(heads("a\nb\n\nc")) == ["a\nb", "a"]
