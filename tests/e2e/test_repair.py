"""Broken drafts through the real server, socket and runtime process, with a scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

HEAD = "total = w * h"
WHOLE = f"{HEAD}\n    return total * 2"
RULES = [
    {"when": "# bracket", "text": "max(w, h"},
    {"when": "# token", "text": "w * / h", "renoise": ["w * h"], "tokens": "words"},
    {"when": "# rounds", "text": "w * / h", "renoise": ["w / / / h", "w + h"]},
    {
        "when": "# block",
        "text": f"{HEAD}\n    return total + / 2",
        "renoise": [WHOLE],
        "step_ms": 150,
        "tokens": "words",
    },
    {"when": "# hopeless", "text": "for = = in"},
    {"when": "# plain", "text": "w * h"},
]
LINE = "{0}\ndef area(w, h):\n    return \n\n\nprint(area(1, 2))\n"
BLOCK = "# block\ndef area(w, h):\n    \n\n\nprint(area(1, 2))\n"


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    scripted = Scripted(run_dir, rules=RULES, load_ms=0)
    async for one in starting(run_dir):
        yield one
    scripted.kill()


async def shown(start: Start, mark: str) -> tuple[list[str], dict[str, Any]]:
    """What is shown for the line of a rule, and the status after it."""
    editor = await start()
    text = LINE.format(mark)
    items = await editor.complete(editor.open(text), text.index("return ") + 7, invoked=False)
    return [str(item.insert_text) for item in items], await editor.request("dgemma/status", {})


async def test_a_lost_bracket_is_put_in_and_nobody_is_asked_again(start: Start) -> None:
    texts, status = await shown(start, "# bracket")
    assert texts == ["max(w, h)"]
    assert status["mended"] == {"by_hand": 1}
    assert status["runtime"]["requests"] == 1


async def test_a_broken_token_is_denoised_again_on_the_same_canvas(start: Start) -> None:
    texts, status = await shown(start, "# token")
    assert texts == ["w * h"]
    assert status["mended"] == {"renoised": 1}


async def test_a_round_that_does_not_help_is_followed_by_a_wider_one(start: Start) -> None:
    texts, status = await shown(start, "# rounds")
    assert texts == ["w + h"]
    assert status["mended"] == {"renoised": 1}


async def test_what_cannot_be_mended_is_not_shown_and_counted(start: Start) -> None:
    texts, status = await shown(start, "# hopeless")
    assert texts == []
    assert status["silent"] == {"all_rejected": 1}
    assert sum(status["rejected"].values()) == 1
    assert status["mended"] == {}


async def test_the_sound_head_of_a_block_comes_first_and_the_rest_extends_it(start: Start) -> None:
    editor = await start()
    told: asyncio.Queue[Any] = asyncio.Queue()

    def on_extended(params: Any) -> None:
        told.put_nowait(params)

    editor.client.feature("dgemma/extended")(on_extended)
    uri = editor.open(BLOCK)
    at = BLOCK.index(":\n    ") + 6
    first = await editor.complete(uri, at, invoked=False)
    assert [item.insert_text for item in first] == [HEAD]
    assert told.empty()
    # The same place again, while the rest is being mended: no second request is made of it.
    again = await editor.complete(uri, at, invoked=False)
    assert [item.insert_text for item in again] == [HEAD]
    extended = await asyncio.wait_for(told.get(), 10)
    assert extended.text == WHOLE
    whole = await editor.complete(uri, at, invoked=False)
    assert [item.insert_text for item in whole] == [WHOLE]
    status = await editor.request("dgemma/status", {})
    assert status["mended"] == {"renoised": 1}


async def test_a_fill_tells_what_was_wrong_and_how_it_was_mended(start: Start) -> None:
    editor = await start()
    text = LINE.format("# hopeless")
    uri = editor.open(text)
    line, character = 2, len("    return ")
    params = {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": character},
        "candidates": 1,
    }
    (candidate, *_) = (await editor.request("dgemma/fill", params))["candidates"]
    (fault, *_) = candidate["verdict"]["faults"]
    assert fault["place"] == "inside"
    assert 0 <= fault["start"] <= fault["end"] <= len(candidate["text"])


async def test_below_the_models_own_threshold_only_who_asks_is_answered(run_dir: Path) -> None:
    scripted = Scripted(run_dir, rules=RULES, load_ms=0, least_score=-0.05)
    async for start in starting(run_dir):
        editor = await start(settings())
        text = LINE.format("# plain")
        uri, at = editor.open(text), text.index("return ") + 7
        assert await editor.complete(uri, at, invoked=False) == []
        status = await editor.request("dgemma/status", {})
        assert status["rejected"] == {"unsure": 1}
        other = editor.open(text, "b.py")
        items = await editor.complete(other, at, invoked=True)
        assert [item.insert_text for item in items] == ["w * h"]
        # No part of an unsure draft is shown either, and none is denoised again.
        asked = (await editor.request("dgemma/status", {}))["runtime"]["requests"]
        block = editor.open(BLOCK, "c.py")
        assert await editor.complete(block, BLOCK.index(":\n    ") + 6, invoked=False) == []
        status = await editor.request("dgemma/status", {})
        assert status["runtime"]["requests"] == asked + 1
    scripted.kill()
