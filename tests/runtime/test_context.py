"""Text from elsewhere before the file's own: what fits, what gives way, what is read once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from support.answers import without_handles  # noqa: E402
from tiny_canvas import tiny_folder  # noqa: E402

from dgemma_runtime.encoding import encode_request  # noqa: E402
from dgemma_runtime.engine import make_engine  # noqa: E402
from dgemma_runtime.engine.base import Answer, Engine  # noqa: E402
from dgemma_runtime.job import Job  # noqa: E402
from dgemma_runtime.models import embedded_folder  # noqa: E402
from dgemma_runtime.prompt import RAW  # noqa: E402
from dgemma_runtime.text import load_codec  # noqa: E402
from dgemma_wire.messages import Clamped, Denoise, Free, Rewrite  # noqa: E402
from dgemma_wire.settings import RuntimeSettings  # noqa: E402

pytestmark = pytest.mark.torch

CODEC = load_codec(embedded_folder() / "tokenizer.json")
FAR = ("def far(a):\n    return a * 2\n\n\n", "class Other:\n    x = 1", "LIMIT = 3\n")
SHOWN = ("def far(a):\n    return a * 2\n\n", "class Other:\n    x = 1\n\n", "LIMIT = 3\n\n")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"))
    settings = RuntimeSettings(model=str(folder), device="cpu", dtype="float32")
    engine = make_engine(settings, clock=lambda: 100.0)
    engine.load(lambda progress: None)
    return engine


def ask(engine: Engine, prefix: str, *context: str) -> Answer:
    segments = (Free(tokens=4), Clamped(text="\n"))
    request = Denoise(
        id=1, document="d", prefix=prefix, segments=segments, context=context, max_steps=2
    )
    return engine.denoise(Job(0, request, 100.0), lambda draft: None)


def shown(
    prefix: str, context: tuple[str, ...], limit: int = 512, rewrite: Rewrite | None = None
) -> str:
    prompt = RAW.lay_out(prefix, rewrite, context)
    request = encode_request(CODEC, prompt, (Free(),), prefix_tokens=limit, tail_tokens=8)
    assert len(request.prefix_ids) <= limit
    return CODEC.decode(request.prefix_ids)


def numbered(lines: int) -> str:
    return "".join(f"value_{i} = compute({i}, 'text')\n" for i in range(lines))


def test_pieces_stand_before_the_file_apart_from_each_other() -> None:
    assert shown("x = 1\n", FAR) == "".join(SHOWN) + "x = 1\n"
    assert shown("x = 1\n", ("", " \n", FAR[0])) == SHOWN[0] + "x = 1\n"
    assert shown("x = 1\n", ()) == "x = 1\n"


def test_a_rewrite_has_them_too() -> None:
    rewrite = Rewrite(instruction="use sum", original="a")
    assert shown("x\n", FAR[:1], rewrite=rewrite) == SHOWN[0] + RAW.lay_out("x\n", rewrite).text


@settings(max_examples=60, deadline=None)
@given(
    lines=st.integers(0, 60),
    limit=st.integers(24, 400),
    context=st.lists(
        st.sampled_from([*FAR, "漢字 = '🦜'\r\n", "x" * 3000, " " * 900 + "y"]), max_size=6
    ),
)
def test_near_text_never_gives_way_and_the_last_pieces_do_first(
    lines: int, limit: int, context: list[str]
) -> None:
    near = shown(numbered(lines), (), limit)
    both = shown(numbered(lines), tuple(context), limit)
    assert both.endswith(near)
    far = both[: len(both) - len(near)]
    whole = [""]
    for piece in RAW.lay_out("", None, context).pieces:
        whole.append(whole[-1] + piece)
    assert far in whole


def test_room_is_used_as_far_as_it_goes() -> None:
    sizes = [
        sum(
            f"far_{i} =" in shown(numbered(n), tuple(f"far_{i} = {i}\n" for i in range(40)), 512)
            for i in range(40)
        )
        for n in range(0, 40, 4)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 40
    assert 0 < sizes[5] < 40
    assert sizes[-1] == 0


def test_what_is_far_is_read_once_while_the_file_grows(tiny: Engine) -> None:
    typed = "def near(value):\n    total = far(value)\n    return total\n"
    before = ask(tiny, typed[:8], *FAR).timings
    for n in range(9, len(typed)):
        now = ask(tiny, typed[:n], *FAR).timings
        assert now.cached_tokens >= before.prefix_tokens - 3
        before = now


def test_what_is_far_gives_way_in_steps(tiny: Engine) -> None:
    """So that a prompt of full size is not read anew at every keystroke."""
    far = tuple(f"far_{i} = {i}\n" for i in range(80))
    read = []
    text = numbered(20)
    before = ask(tiny, text, *far).timings
    for n in range(60):
        now = ask(tiny, text + "x = 1\n" * n, *far).timings
        read.append(now.prefix_tokens - now.cached_tokens)
        assert now.prefix_tokens <= tiny.limits.prefix_tokens
        before = now
    assert before.prefix_tokens > 256
    assert sum(tokens > 20 for tokens in read) <= 5


def test_two_files_share_what_is_far(tiny: Engine) -> None:
    ask(tiny, "import one\n", *FAR)
    tokens = sum(len(CODEC.encode(piece)) for piece in SHOWN)
    assert ask(tiny, "class Two:\n    ", *FAR).timings.cached_tokens >= tokens


def test_the_cache_changes_no_answer(tiny: Engine) -> None:
    first = ask(tiny, numbered(3), *FAR)
    ask(tiny, numbered(3), FAR[1])
    ask(tiny, numbered(5), *FAR)
    again = ask(tiny, numbered(3), *FAR)
    assert without_handles(first.candidates) == without_handles(again.candidates)


def test_the_instruction_tuned_model_is_asked_in_turns(tmp_path: Path) -> None:
    from tiny_gemma import tiny_gemma
    from tiny_tokenizer import tiny_tokenizer

    codec = load_codec(tiny_tokenizer(tmp_path / "tokenizer.json"))
    tiny_gemma(vocab=codec.tokenizer.get_vocab_size()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 4096
    config["canvas_length"] = 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("{{ '<|turn>' }}{% if add_generation_prompt %}")
    engine = make_engine(
        RuntimeSettings(model=str(tmp_path), device="cpu", dtype="float32"), clock=lambda: 100.0
    )
    engine.load(lambda progress: None)
    assert engine.capabilities.instructions
    bare = ask(engine, "x = ")
    full = ask(engine, "x = <|turn>", *FAR)
    assert full.timings.prefix_tokens > bare.timings.prefix_tokens + 30
    begun = ask(engine, "x = <|turn>1", *FAR)
    assert begun.timings.cached_tokens >= full.timings.prefix_tokens - 2
    assert len(begun.candidates[0].texts) == 1
