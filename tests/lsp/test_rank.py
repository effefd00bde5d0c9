"""The order of candidates, and what is held back."""

from __future__ import annotations

from dgemma_lsp.infill.rank import order, unsure
from dgemma_lsp.infill.types import Candidate, Mended, RejectReason, Verdict


def candidate(
    text: str, score: float, *, accepted: bool = True, mended: Mended | None = None
) -> Candidate:
    verdict = Verdict(accepted, None if accepted else RejectReason.ADDS_SYNTAX_ERROR)
    return Candidate(text, text, score, 0.5, 3, "settled", verdict, mended=mended)


def texts(*candidates: Candidate) -> list[str]:
    return [each.text for each in order(candidates)]


def test_what_is_sound_comes_before_what_scores_higher() -> None:
    assert texts(candidate("a", -0.1, accepted=False), candidate("b", -0.9)) == ["b", "a"]


def test_what_is_whole_comes_before_a_head() -> None:
    head = candidate("a", -0.1, mended=Mended.HEAD)
    assert texts(head, candidate("b", -0.3)) == ["b", "a"]


def test_agreement_on_the_first_line_counts() -> None:
    one, two = candidate("x = 1\ny", -0.4), candidate("x = 1\nz", -0.5)
    assert texts(candidate("w", -0.3), one, two) == ["x = 1\ny", "w", "x = 1\nz"]
    assert texts(candidate("w", -0.1), one, two)[0] == "w"


def test_texts_that_differ_in_blanks_alone_are_one() -> None:
    assert texts(candidate("a+b", -0.2), candidate("a + b", -0.1)) == ["a + b"]


def test_below_the_threshold_nothing_passes_and_the_reason_is_told() -> None:
    found = unsure(order([candidate("a", -0.1), candidate("b", -0.9)]), -0.5)
    assert [each.verdict.accepted for each in found] == [True, False]
    assert found[1].verdict.reason is RejectReason.UNSURE


def test_without_a_threshold_all_passes() -> None:
    (one,) = unsure([candidate("a", -9.0)], None)
    assert one.verdict.accepted


def test_a_rejected_candidate_keeps_its_own_reason() -> None:
    (one,) = unsure([candidate("a", -9.0, accepted=False)], -0.5)
    assert one.verdict.reason is RejectReason.ADDS_SYNTAX_ERROR
