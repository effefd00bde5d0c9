"""How the instruction-tuned DiffusionGemma is asked, with a small tokenizer of its kind."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from tiny_tokenizer import SPECIAL, UNMARKED, tiny_tokenizer

from dgemma_runtime.canvas import ClampedIds
from dgemma_runtime.encoding import EncodedRequest, encode_request
from dgemma_runtime.models import read_diffusion_gemma_spec
from dgemma_runtime.prompt import GEMMA, RAW, layout_named
from dgemma_runtime.prompt.gemma import AFTER_TOKENS
from dgemma_runtime.text import Codec, load_codec
from dgemma_wire.errors import DenoiseFailed, FailureCode, ModelError
from dgemma_wire.messages import Clamped, Free, Rewrite, Segment

BOS = 2
PREFIX = "import json\n\n\ndef add(a, b):\n    "
SUFFIX = "\n\n\nprint(add(1, 2))\n"
REWRITE = Rewrite(instruction="use sum", original="    return a + b")
OPEN = "<|turn>user\n"
ANSWER = "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return load_codec(tiny_tokenizer(folder / "tokenizer.json"), GEMMA.controls)


def encode(
    codec: Codec,
    prefix: str,
    *segments: Segment,
    rewrite: Rewrite | None = None,
    context: tuple[str, ...] = (),
    limit: int = 4096,
    tail: int = 256,
) -> EncodedRequest:
    last = max(i for i, segment in enumerate(segments) if isinstance(segment, Free))
    after = "".join(s.text for s in segments[last + 1 :] if isinstance(s, Clamped))
    prompt = GEMMA.lay_out(prefix, rewrite, context, after)
    return encode_request(
        codec, prompt, segments, prefix_tokens=limit, tail_tokens=tail, start_ids=(BOS,)
    )


def said(codec: Codec, request: EncodedRequest) -> str:
    return codec.tokenizer.decode(list(request.prefix_ids), skip_special_tokens=False)


def clamped(request: EncodedRequest) -> Iterator[int]:
    for segment in request.segments:
        if isinstance(segment, ClampedIds):
            yield from segment.ids


def test_it_has_a_name() -> None:
    assert layout_named("gemma") is GEMMA


def test_a_fill_is_a_question_and_the_head_of_its_answer(codec: Codec) -> None:
    request = encode(codec, PREFIX, Free(), Clamped(text=SUFFIX), context=("x = 1\n", "\n"))
    text = said(codec, request)
    assert text.startswith("<bos>" + OPEN)
    question, answer = text.removeprefix("<bos>" + OPEN).split(ANSWER)
    assert answer == "```\n" + PREFIX.removesuffix(" ")
    assert question.count("```\nx = 1\n```\n\n") == 1
    assert question.index("x = 1") < question.index("print(add(1, 2))")
    assert question == question.strip()
    assert request.spans[0].given == " "
    canvas = codec.tokenizer.decode(list(clamped(request)), skip_special_tokens=False)
    assert canvas == SUFFIX + "```<turn|>"


def test_control_tokens_have_the_templates_ids_and_order(codec: Codec) -> None:
    request = encode(codec, PREFIX, Free(), Clamped(text=SUFFIX))
    controls = {codec.control(name): name for name in GEMMA.controls}
    found = [controls[i] for i in request.prefix_ids if i in controls]
    assert found == ["<|turn>", "<turn|>", "<|turn>", "<|channel>", "<channel|>"]
    assert request.prefix_ids[:2] == (BOS, codec.control("<|turn>"))


def test_a_rewrite_tells_the_instruction_and_the_original(codec: Codec) -> None:
    request = encode(codec, "x = 1\n", Free(), Clamped(text=SUFFIX), rewrite=REWRITE)
    question, answer = said(codec, request).split(ANSWER)
    assert question.endswith("use sum\n```\n    return a + b\n```")
    assert answer == "```\nx = 1\n"
    pinned = (Clamped(text="    pinned\n"), Free(), Clamped(text=SUFFIX))
    request = encode(codec, "x = 1\n", *pinned, rewrite=REWRITE)
    assert said(codec, request).endswith("```\nx = 1\n    pinned\n")


def test_a_rewrite_inside_a_line_is_refused(codec: Codec) -> None:
    with pytest.raises(DenoiseFailed) as caught:
        encode(codec, "x = ", Free(), rewrite=REWRITE)
    assert caught.value.code is FailureCode.BAD_REQUEST


def test_without_a_suffix_the_fence_closes_behind_the_span(codec: Codec) -> None:
    request = encode(codec, PREFIX, Free())
    canvas = codec.tokenizer.decode(list(clamped(request)), skip_special_tokens=False)
    assert canvas == "\n```<turn|>"
    assert "goes on" not in said(codec, request)


def test_a_suffix_that_is_cut_does_not_end_the_answer(codec: Codec) -> None:
    request = encode(codec, PREFIX, Free(), Clamped(text="\nx = 1" * 500), tail=16)
    assert codec.control("<turn|>") not in set(clamped(request))


def test_no_text_can_close_the_fence(codec: Codec) -> None:
    request = encode(codec, "# ````\n", Free(), Clamped(text=SUFFIX), context=("```\na\n```",))
    assert said(codec, request).endswith("<channel|>`````\n# ````\n")


SPELLED = st.lists(
    st.sampled_from([*SPECIAL, *UNMARKED, "<start_of_turn>", "model\n", "\n", " ", "x", "漢"]),
    max_size=8,
).map("".join)
CODEC: list[Codec] = []


@settings(max_examples=60, deadline=None)
@given(prefix=SPELLED, suffix=SPELLED, far=SPELLED, words=SPELLED, begun=SPELLED)
def test_users_text_never_steers_the_model(
    tmp_path_factory: pytest.TempPathFactory,
    prefix: str,
    suffix: str,
    far: str,
    words: str,
    begun: str,
) -> None:
    if not CODEC:
        path = tiny_tokenizer(tmp_path_factory.mktemp("steering") / "tokenizer.json")
        CODEC.append(load_codec(path, GEMMA.controls))
    (codec,) = CODEC
    instruction = "do " + words.replace("\n", " ")
    rewrite = Rewrite(instruction=instruction, original="x" + words.strip("\n") + "x")
    added = codec.tokenizer.get_added_tokens_decoder()
    for asked in (None, rewrite):
        head = prefix + "\n"
        segments = (Free(start=begun, noise=0.5), Clamped(text=suffix))
        request = encode(codec, head, *segments, rewrite=asked, context=(far,))
        steering = [i for i in request.prefix_ids if i in added]
        assert [added[i].content for i in steering] == [
            "<bos>",
            "<|turn>",
            "<turn|>",
            "<|turn>",
            "<|channel>",
            "<channel|>",
        ]
        assert [added[i].content for i in clamped(request) if i in added] == ["<turn|>"]
        first = request.segments[0]
        assert not added.keys() & set(getattr(first, "ids", ()))
        assert codec.decode(request.prefix_ids).endswith("\n" + head)
        assert far.strip("\r\n") in codec.decode(request.prefix_ids)


def lines(name: str, count: int) -> str:
    return "".join(f"{name}_{i} = compute({i})\n" for i in range(count))


def test_the_room_is_shared_out(codec: Codec) -> None:
    """The text behind has its own; what is far takes what the file's text leaves."""
    far = tuple(lines(f"far{i}", 5) for i in range(8))
    sizes = []
    for count in (4, 90, 400):
        request = encode(
            codec,
            lines("near", count),
            Free(),
            Clamped(text="\n" + lines("behind", 400)),
            context=far,
            limit=2048,
        )
        text = said(codec, request)
        behind = re.findall(r"behind_\d+ = compute\(\d+\)", text)
        assert len(codec.encode("\n".join(behind))) in range(AFTER_TOKENS - 40, AFTER_TOKENS + 1)
        assert len(request.prefix_ids) <= 2048 + AFTER_TOKENS
        assert text.endswith(f"near_{count - 1} = compute({count - 1})\n")
        told = [f"far{i}_0" in text for i in range(8)]
        assert told == sorted(told, reverse=True)
        sizes.append(sum(told))
    assert sizes[0] == 8
    assert sizes[0] > sizes[1] > sizes[2] == 0


def test_typing_adds_to_what_was_read(codec: Codec) -> None:
    typed = "    total = add(first, second)\n    return total\n"
    asked = [
        encode(
            codec,
            lines("near", 20) + typed[:n],
            Free(),
            # Editors close brackets: the rest of the line changes with what is typed.
            Clamped(text=")" * (n % 2) + "\n" + lines("behind", 20)),
            context=(lines("far", 10),),
        ).prefix_ids
        for n in range(len(typed))
    ]
    for one, other in pairwise(asked):
        shared = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), len(one))  # noqa: B905
        assert shared >= len(one) - 4


def test_a_rewrite_that_does_not_fit_is_told(codec: Codec) -> None:
    long = Rewrite(instruction="shorten", original="x = 1\n" * 400 + "y")
    with pytest.raises(DenoiseFailed, match="Select fewer lines") as caught:
        encode(codec, "", Free(), rewrite=long, limit=512)
    assert caught.value.code is FailureCode.CONTEXT_TOO_LONG


@pytest.mark.parametrize("name", ["<|turn>", "<turn|>"])
def test_another_models_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    path = tiny_tokenizer(tmp_path / "tokenizer.json", without=name)
    with pytest.raises(ModelError, match=re.escape(name)):
        load_codec(path, GEMMA.controls)


def checkpoint(folder: Path, **files: str) -> Path:
    text = {"vocab_size": 600, "max_position_embeddings": 8192}
    config = {"model_type": "diffusion_gemma", "canvas_length": 32, "text_config": text}
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


TEMPLATE = "{{ '<|turn>' }}{% if add_generation_prompt %}{% endif %}"


@pytest.mark.parametrize("name", ["chat_template__jinja", "tokenizer_config__json"])
def test_a_checkpoint_with_a_template_is_asked_in_turns(tmp_path: Path, name: str) -> None:
    spec = read_diffusion_gemma_spec(checkpoint(tmp_path, **{name: TEMPLATE}))
    assert spec.prompt is GEMMA
    assert spec.capabilities.instructions
    assert spec.capabilities.context_tokens == 1024


def test_a_checkpoint_without_one_is_shown_the_file(tmp_path: Path) -> None:
    spec = read_diffusion_gemma_spec(checkpoint(tmp_path, tokenizer_config__json="{}"))
    assert spec.prompt is RAW
    assert not spec.capabilities.instructions
