"""The model's tokens of a text that rules and repairs have changed, and offers by number."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dgemma_lsp.infill.tokens import TextToken, tokens_of
from dgemma_lsp.infill.types import Candidate, Verdict
from dgemma_lsp.offers import Offer, Offers


def candidate(raw: str, text: str | None = None) -> Candidate:
    """A candidate with a token for every word; the first has 0.5, the others 0.9."""
    words = re.findall(r"\s*\w+|\s*[^\w\s]|\s+", raw)
    tokens = tuple((len(word), 0.9 if i else 0.5) for i, word in enumerate(words))
    text = raw if text is None else text
    return Candidate(text, raw, -0.1, 0.5, 3, "settled", Verdict(True), tokens)


def said(one: Candidate, typed: int = 0) -> list[str]:
    return [one.text[token.start : token.end] for token in tokens_of(one, typed)]


def test_a_text_as_the_model_wrote_it() -> None:
    assert tokens_of(candidate("a + b")) == (
        TextToken(0, 1, 0.5),
        TextToken(1, 3, 0.9),
        TextToken(3, 5, 0.9),
    )


def test_a_text_that_was_cut() -> None:
    assert said(candidate("a + b)", "a + b")) == ["a", " +", " b"]
    assert said(candidate("  a + b", "a + b")) == ["a", " +", " b"]


def test_a_text_that_was_typed_into() -> None:
    whole = candidate("a + a")
    assert said(replace(whole, text="a"), 4) == ["a"]
    assert tokens_of(replace(whole, text="a"), 4) == (TextToken(0, 1, 0.9),)
    assert tokens_of(replace(whole, text="a + a"), 0)[0] == TextToken(0, 1, 0.5)


def test_what_was_put_in_by_hand_has_no_token() -> None:
    mended = candidate("f(a, [b)", "f(a, [b])")
    assert said(mended) == ["f", "(", "a", ",", " [", "b", ")"]
    assert [t.start for t in tokens_of(mended)][-1] == 8


def test_line_ends_of_the_document() -> None:
    assert said(candidate("a\nb", "a\r\nb")) == ["a", "\nb"]


def test_tokens_of_another_text_are_not_used() -> None:
    assert tokens_of(replace(candidate("a + b"), raw="a + b + c")) == ()
    assert tokens_of(replace(candidate("a"), tokens=())) == ()


@given(st.text(alphabet="ab (\n漢🦜", max_size=30), st.data())
def test_tokens_lie_in_the_text_in_order(raw: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(raw)))
    text = raw[start:] + data.draw(st.text(alphabet="ab)", max_size=4))
    one = candidate(raw, text)
    tokens = tokens_of(one)
    ends = [0, *(token.end for token in tokens)]
    assert all(end <= token.start < token.end for end, token in zip(ends, tokens, strict=False))
    assert all(text[t.start : t.end] in raw for t in tokens)


# -- offers -------------------------------------------------------------------------------------


def add(offers: Offers, one: Candidate, offset: int = 10, typed: int = 0) -> Offer:
    return offers.add(
        one, uri="file:///a", language="python", offset=offset, typed=typed, time=0, latency_ms=5
    )


def test_typing_into_an_offer_keeps_its_number() -> None:
    offers = Offers()
    whole = candidate("a + b")
    first = add(offers, whole)
    again = add(offers, replace(whole, text="+ b"), 12, typed=2)
    assert again.number == first.number
    assert offers.get(first.number) == again
    assert (again.text, again.offset, again.typed) == ("+ b", 12, 2)
    assert add(offers, candidate("other")).number != first.number
    assert add(offers, whole, 11).number != first.number


def test_what_ended_is_offered_anew() -> None:
    offers = Offers()
    first = add(offers, candidate("a"))
    before = offers.mark(first.number, ended=True)
    assert before is not None
    assert not before.ended
    assert add(offers, candidate("a")).number != first.number


def test_only_the_last_are_remembered() -> None:
    offers = Offers(3)
    numbers = [add(offers, candidate("a"), offset).number for offset in range(20)]
    assert len(offers) == 3
    assert offers.get(numbers[0]) is None
    assert offers.mark(numbers[0], shown=True) is None
    assert offers.get(numbers[-1]) is not None
