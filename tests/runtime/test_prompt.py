"""The text before a canvas, and how it is cut to a model's size."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dgemma_runtime.encoding import EncodedRequest, cut_prefix, encode_request
from dgemma_runtime.models import embedded_folder
from dgemma_runtime.prompt import RAW, layout_named
from dgemma_runtime.text import Codec, load_codec
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Clamped, Free, Rewrite, Segment

REWRITE = Rewrite(instruction="rename a to b", original="a = 1\nprint(a)")
BLOCK = "<<<<<<< rename a to b\na = 1\nprint(a)\n=======\n"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(embedded_folder() / "tokenizer.json")


def numbered(lines: int) -> str:
    return "".join(f"value_{i} = compute({i}, 'text')\n" for i in range(lines))


def encode(codec: Codec, prefix: str, *segments: Segment, limit: int = 128) -> EncodedRequest:
    prompt = RAW.lay_out(prefix, REWRITE)
    return encode_request(codec, prompt, segments, prefix_tokens=limit, tail_tokens=8)


def test_a_fill_is_the_files_text() -> None:
    prompt = RAW.lay_out("x = ", None)
    assert (prompt.file, prompt.block) == ("x = ", "")


def test_a_rewrite_is_an_open_conflict() -> None:
    assert RAW.lay_out("import a\n", REWRITE).text == "import a\n" + BLOCK
    assert RAW.lay_out("", REWRITE).text == BLOCK


@pytest.mark.parametrize(
    ("prefix", "rewrite"),
    [
        ("x = ", REWRITE),
        ("", Rewrite(instruction="two\nlines", original="a")),
        ("", Rewrite(instruction=" ", original="a")),
        ("", Rewrite(instruction="x", original="a\n")),
    ],
)
def test_what_the_layout_has_no_place_for_is_refused(prefix: str, rewrite: Rewrite) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        RAW.lay_out(prefix, rewrite)
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_layouts_have_names() -> None:
    assert layout_named("raw") is RAW
    with pytest.raises(ModelError, match="raw"):
        layout_named("chat")


def test_short_prompts_are_tokenised_as_one_text(codec: Codec) -> None:
    prefix = "import a\n\n\n"
    request = encode(codec, prefix, Free(), Clamped(text="\nx"))
    assert list(request.prefix_ids) == codec.encode(prefix + BLOCK)
    assert not request.spans[0].given


@pytest.mark.parametrize("limit", [30, 40, 64, 128, 256])
def test_the_block_stays_whole_and_the_rest_is_filled(codec: Codec, limit: int) -> None:
    request = encode(codec, numbered(400), Free(), limit=limit)
    text = codec.decode(request.prefix_ids)
    assert text.endswith(BLOCK)
    assert len(request.prefix_ids) <= limit
    file = text.removesuffix(BLOCK)
    assert numbered(400).endswith(file)
    room = limit - len(codec.encode(BLOCK))
    if room > 60:  # lines enough to choose a border among
        assert file.startswith("value_")
        assert len(codec.encode(file)) >= room * 3 // 4 - 20


def test_a_block_that_fills_the_budget_leaves_nothing_else(codec: Codec) -> None:
    size = len(codec.encode(BLOCK))
    request = encode(codec, numbered(50), Free(), limit=size)
    assert codec.decode(request.prefix_ids) == BLOCK


def test_a_block_beyond_the_budget_is_told(codec: Codec) -> None:
    size = len(codec.encode(BLOCK))
    with pytest.raises(DenoiseFailed, match=f"{size} tokens.*{size - 1}") as caught:
        encode(codec, numbered(50), Free(), limit=size - 1)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


def test_a_block_of_long_tokens_counts_in_tokens(codec: Codec) -> None:
    """The bound on what is tokenised is for the file's text alone."""
    block = "<<<<<<< x\n" + " " * 400 + "y\n=======\n"
    size = len(codec.encode(block))
    assert len(block) > 8 * size
    assert codec.decode(cut_prefix(codec, numbered(50), size, block)) == block


def test_the_left_edge_stays_while_the_text_above_grows(codec: Codec) -> None:
    text, edges = numbered(400), []
    for n in range(12):
        grown = text + "".join(f"another_{i} = {i}\n" for i in range(n))
        edges.append(
            codec.decode(encode(codec, grown, Free(), limit=256).prefix_ids).split("\n")[0]
        )
    assert sum(a != b for a, b in pairwise(edges)) <= 4


def test_pinned_text_at_the_start_of_the_canvas_follows_the_block(codec: Codec) -> None:
    request = encode(codec, numbered(400), Clamped(text="    return "), Free())
    assert codec.decode(request.prefix_ids).endswith(BLOCK + "    return")
    assert request.spans[0].given == " "
