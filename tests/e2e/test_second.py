"""The causal pass's own draft and its judgement, through the real server and runtime process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

RULES = [
    {"when": "# better", "text": "w + h", "causal": "w * h"},
    {"when": "# worse", "text": "w * h", "causal": "w + h"},
    {"when": "# broken", "text": "w * h", "causal": "w * / h"},
    {"when": "# only", "text": "w * / h", "causal": "w * h"},
    {"when": "# same", "text": "w * h", "causal": "w * h"},
    {"when": "# fails", "text": "w + h", "causal_code": "engine_fault"},
    {"when": "# slow", "text": "w + h", "causal": "w * h", "steps": 1, "step_ms": 450},
]
WEIGHTS = {"w * h": -2.0, "w + h": -9.0}
LINE = "{0}\ndef area(w, h):\n    return \n\n\nprint(area(1, 2))\n"


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    scripted = Scripted(run_dir, rules=RULES, load_ms=0, weighs=True, weights=WEIGHTS)
    async for one in starting(run_dir):
        yield one
    scripted.kill()


async def shown(
    start: Start, mark: str, *, invoked: bool = True, **more: Any
) -> tuple[list[str], int]:
    """What is shown for the line of a rule, and how many requests that took."""
    editor = await start(settings(**more))
    text = LINE.format(mark)
    items = await editor.complete(editor.open(text), text.index("return ") + 7, invoked=invoked)
    status = await editor.request("dgemma/status", {})
    return [str(item.insert_text) for item in items], status["runtime"]["requests"]


async def test_the_causal_draft_is_shown_where_it_weighs_more(start: Start) -> None:
    texts, requests = await shown(start, "# better")
    assert texts[0] == "w * h"
    assert requests == 3


async def test_the_canvas_draft_stays_where_it_weighs_more(start: Start) -> None:
    assert (await shown(start, "# worse"))[0][0] == "w * h"


async def test_a_broken_causal_draft_is_not_even_weighed(start: Start) -> None:
    assert await shown(start, "# broken") == (["w * h"], 2)


async def test_a_sound_causal_draft_stands_in_for_a_broken_one(start: Start) -> None:
    assert await shown(start, "# only") == (["w * h"], 2)


async def test_drafts_that_agree_need_no_judge(start: Start) -> None:
    assert await shown(start, "# same") == (["w * h"], 2)


async def test_who_types_gets_a_good_first_draft_at_once(start: Start) -> None:
    assert await shown(start, "# better", invoked=False) == (["w + h"], 1)


async def test_who_types_gets_a_second_draft_for_a_broken_one(start: Start) -> None:
    assert await shown(start, "# only", invoked=False) == (["w * h"], 2)


async def test_the_first_draft_stands_when_the_second_fails(start: Start) -> None:
    assert await shown(start, "# fails") == (["w + h"], 2)


async def test_without_time_the_first_draft_is_enough(start: Start) -> None:
    # Who asks gets ten times as long.
    texts, _ = await shown(start, "# slow", deadlineMs=50)
    assert texts[0] == "w + h"
