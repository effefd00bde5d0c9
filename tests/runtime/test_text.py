from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgemma_runtime.canvas import ClampedIds, FreeSlots
from dgemma_runtime.encoding import EncodedRequest, cut_prefix, encode_request
from dgemma_runtime.models import embedded_folder
from dgemma_runtime.prompt import Prompt
from dgemma_runtime.text import (
    Codec,
    SpanText,
    complete_at,
    cut_lines,
    cut_tokens,
    lines_left,
    load_codec,
    read_text,
    spell,
)
from dgemma_wire.errors import ModelError
from dgemma_wire.messages import Clamped, Free, Segment


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(embedded_folder() / "tokenizer.json")


def encode(codec: Codec, prefix: str, *segments: Segment, limit: int = 64) -> EncodedRequest:
    return encode_request(codec, Prompt(prefix), segments, prefix_tokens=limit, tail_tokens=8)


def test_one_blank_before_the_span_belongs_to_it(codec: Codec) -> None:
    request = encode(codec, "x = ", Free(), Clamped(text="\n"))
    assert codec.decode(request.prefix_ids) == "x ="
    assert request.spans == (SpanText(" ", max_lines=None),)
    assert read_text(codec, codec.encode(" 1"), request.spans[0]) == "1"
    assert read_text(codec, codec.encode("1"), request.spans[0]) == "1"


def test_only_one_blank_is_taken(codec: Codec) -> None:
    request = encode(codec, "def f():\n    ", Free())
    assert codec.decode(request.prefix_ids) == "def f():\n   "
    assert read_text(codec, codec.encode("  x"), request.spans[0]) == " x"


def test_the_seam_inside_the_canvas_is_healed_too(codec: Codec) -> None:
    request = encode(codec, "f(", Free(), Clamped(text=") + "), Free(tokens=3, max_lines=1))
    assert [span.given for span in request.spans] == ["", " "]
    clamped = request.segments[1]
    assert isinstance(clamped, ClampedIds)
    assert codec.decode(clamped.ids) == ") +"
    assert request.segments[2] == FreeSlots(3)


@pytest.mark.parametrize(
    ("prefix", "kept", "given"),
    [
        ("def f():\n    ret", "def f():\n   ", " ret"),
        ("x = val", "x =", " val"),
        ("self.na", "self.", "na"),
        ("f(a, ", "f(a,", " "),
        ("f(", "f(", ""),
        ("x = '\N{MAHJONG TILE RED DRAGON}", "x = '\N{MAHJONG TILE RED DRAGON}", ""),
        ("", "", ""),
    ],
)
def test_a_word_that_was_begun_is_given_to_the_span(
    codec: Codec, prefix: str, kept: str, given: str
) -> None:
    request = encode_request(
        codec, Prompt(prefix), [Free()], prefix_tokens=64, tail_tokens=8, heal_words=True
    )
    assert codec.decode(request.prefix_ids) == kept
    assert request.spans == (SpanText(given, None, begins=given not in ("", " ")),)


@pytest.mark.parametrize("text", ["ret", " ret", "na", "x", "(", "\n    "])
def test_tokens_that_begin_with_a_text_are_found(text: str) -> None:
    wanted = [i for i in range(49152) if CODEC.decode([i]).startswith(text)]
    assert sorted(CODEC.beginning_with(text)) == wanted


def test_clamped_text_before_the_first_span_joins_the_prefix(codec: Codec) -> None:
    request = encode(codec, "a", Clamped(text="b "), Free())
    assert codec.decode(request.prefix_ids) == "ab"
    assert request.segments == (FreeSlots(None),)
    assert request.spans[0].given == " "


def test_special_tokens_in_source_text_stay_text(codec: Codec) -> None:
    ids = codec.encode("<|endoftext|>")
    assert len(ids) > 1
    assert codec.decode(ids) == "<|endoftext|>"


def test_a_cut_character_is_the_replacement_character(codec: Codec) -> None:
    ids = codec.encode("\N{MAHJONG TILE RED DRAGON}")
    assert len(ids) > 1
    assert "\N{REPLACEMENT CHARACTER}" in codec.decode(ids[:1])
    assert codec.decode(ids) == "\N{MAHJONG TILE RED DRAGON}"


@pytest.mark.parametrize(
    ("text", "max_lines", "cut"),
    [
        ("a\nb\nc", 1, "a"),
        ("a\nb\nc", 2, "a\nb"),
        ("a\nb", 3, "a\nb"),
        ("\na", 1, ""),
        ("a\n", None, "a\n"),
    ],
)
def test_lines_are_cut_before_the_newline(text: str, max_lines: int | None, cut: str) -> None:
    assert cut_lines(text, max_lines) == cut


def test_complete_at_counts_the_tokens_up_to_the_closing_newline(codec: Codec) -> None:
    ids = codec.encode("a = 1\nb = 2\n")
    n = complete_at(codec, ids, 1)
    assert n is not None
    assert codec.decode(ids[:n]).endswith("\n")
    assert codec.decode(ids[:n]).count("\n") == 1
    assert complete_at(codec, ids, 3) is None
    assert complete_at(codec, ids, None) is None
    assert complete_at(codec, [], 1) is None


def test_a_piece_may_take_the_lines_that_earlier_ones_left(codec: Codec) -> None:
    earlier = codec.encode("a\nb\nc")
    assert lines_left(codec, earlier, 5) == 3
    assert lines_left(codec, earlier, 2) == 1  # it goes on in its own line
    assert lines_left(codec, [], 4) == 4
    assert lines_left(codec, earlier, None) is None


@pytest.mark.parametrize(
    ("text", "lines"), [("f(x)\n    y", 1), ("\n", 1), ("a\n\n\n    b", 2), ("漢字\r\n", 1)]
)
def test_tokens_are_cut_where_the_text_is(codec: Codec, text: str, lines: int) -> None:
    ids = codec.encode(text)
    ids = ids[: complete_at(codec, ids, lines)]
    cut = cut_tokens(codec, ids, lines)
    assert codec.decode(cut) == cut_lines(text, lines)
    assert cut[: len(ids) - 1] == ids[:-1]


def test_a_character_counts_for_the_token_that_completes_it(codec: Codec) -> None:
    ids = codec.encode("a🦜b")
    text, chars = spell(codec, ids)
    assert text == "a🦜b"
    assert chars[0] == chars[-1] == 1
    assert sum(chars) == 3
    assert 0 in chars


def test_the_healed_blank_is_no_character_of_the_text(codec: Codec) -> None:
    assert spell(codec, codec.encode(" foo bar"), " ") == ("foo bar", [3, 4])
    assert spell(codec, codec.encode(" "), " ") == ("", [0])
    assert spell(codec, codec.encode("foo"), " ") == ("foo", [3])
    assert spell(codec, [], " ") == ("", [])


CODEC = load_codec(embedded_folder() / "tokenizer.json")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), taken=st.sampled_from(["", " ", "a", "re"]))
def test_characters_always_add_up(data: st.DataObject, taken: str) -> None:
    """Of a text's own tokens, and of any tokens one after another: parts of characters too."""
    ids = data.draw(
        st.one_of(
            st.text(max_size=20).map(CODEC.encode),
            st.lists(st.one_of(st.integers(16, 300), st.integers(16, 49151)), max_size=12),
        )
    )
    text, chars = spell(CODEC, ids, taken)
    whole = CODEC.decode(ids)
    assert text == whole.removeprefix(taken)
    assert sum(chars) == len(text)
    assert len(chars) == len(ids)
    assert min(chars, default=0) >= 0


def numbered(lines: int) -> str:
    return "".join(f"value_{i} = compute({i}, 'text')\n" for i in range(lines))


def test_a_short_prefix_is_kept_whole(codec: Codec) -> None:
    text = numbered(3)
    assert cut_prefix(codec, text, 256) == codec.encode(text)


def test_a_long_prefix_is_cut_before_a_line_within_the_limit(codec: Codec) -> None:
    ids = cut_prefix(codec, numbered(400), 256)
    assert 256 * 3 // 4 - 30 <= len(ids) <= 256
    assert codec.decode(ids).startswith("value_")


def test_the_left_edge_stays_while_typing(codec: Codec) -> None:
    text = numbered(400)
    typed = "".join(f"another_{i} = {i}\n" for i in range(10))
    edges = [
        codec.decode(cut_prefix(codec, text + typed[:n], 256)).split("\n")[0]
        for n in range(0, len(typed), 3)
    ]
    assert sum(a != b for a, b in pairwise(edges)) <= 4


def test_the_left_edge_stays_when_the_peer_cuts_elsewhere(codec: Codec) -> None:
    text = numbered(400)
    assert cut_prefix(codec, text, 256) == cut_prefix(codec, text[731:], 256)


def test_a_prefix_without_lines_is_cut_all_the_same(codec: Codec) -> None:
    assert len(cut_prefix(codec, "x = 1; " * 2000, 128)) == 128


def test_a_prefix_of_long_tokens_is_cut_within_the_limit(codec: Codec) -> None:
    assert len(cut_prefix(codec, (" " * 400 + "x\n") * 100, 64)) <= 64


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_codec(tmp_path / "tokenizer.json")
