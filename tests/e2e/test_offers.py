"""Offers and statistics over stdio: numbers, confidence, what clients tell, and the file of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from support.editors import Editor
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

SOURCE = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"
AT = SOURCE.index("return ") + len("return ")
RULES = [
    {
        "when": "def add",
        "text": "a + b",
        "others": ["b + a"],
        "probabilities": {"a + b": [0.9, 0.8, 0.3, 0.8, 0.7]},
    },
    {"when": "# cut", "text": "f(x))", "probabilities": {"f(x))": [0.1, 0.2, 0.3, 0.4, 0.5]}},
]


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    scripted = Scripted(run_dir, rules=RULES)
    async for one in starting(run_dir):
        yield one
    scripted.kill()


def number_of(item: types.InlineCompletionItem) -> int:
    assert item.command is not None
    assert item.command.command == "dgemma.accepted"
    assert item.command.arguments is not None
    (number,) = item.command.arguments
    assert isinstance(number, int)
    return number


def tell(editor: Editor, method: str, **params: Any) -> None:
    editor.client.protocol.notify(f"dgemma/{method}", params)


def written(path: str) -> str:
    """What the file holds, which is the user's alone; empty before it is there."""
    if not Path(path).exists():
        return ""
    assert Path(path).stat().st_mode & 0o777 == 0o600
    return Path(path).read_text()


async def counts(editor: Editor) -> dict[str, Any]:
    return (await editor.request("dgemma/statistics", {}))["total"]


async def test_every_item_has_its_number_and_its_confidence(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    first, second = await editor.complete(uri, AT)
    assert number_of(first) != number_of(second)
    told = await editor.request("dgemma/confidence", {"id": number_of(first)})
    assert told["text"] == "a + b"
    assert [each["probability"] for each in told["tokens"]] == [0.9, 0.8, 0.3, 0.8, 0.7]
    assert [each["start"] for each in told["tokens"]] == [0, 1, 2, 3, 4]
    # Typing into it leaves the number, and the tokens of what is left.
    editor.insert(uri, AT, "a ")
    (rest,) = await editor.complete(uri, AT + 2, invoked=False)
    assert number_of(rest) == number_of(first)
    told = await editor.request("dgemma/confidence", {"id": number_of(rest)})
    assert told["text"] == "+ b"
    assert [each["probability"] for each in told["tokens"]] == [0.3, 0.8, 0.7]
    assert await editor.request("dgemma/confidence", {"id": 10_000}) == {"text": "", "tokens": []}


async def test_tokens_of_a_text_that_was_trimmed(start: Start) -> None:
    editor = await start()
    source = "# cut\nx = g(\n    )\n".replace("\n    ", "")
    uri = editor.open(source)
    at = source.index(")")
    result = await editor.request(
        "dgemma/fill",
        {"textDocument": {"uri": uri}, "position": {"line": 1, "character": at - 6}},
    )
    assert result["text"] == "f(x)"
    tokens = result["candidates"][0]["tokens"]
    assert [(t["start"], t["probability"]) for t in tokens] == [
        (0, 0.1),
        (1, 0.2),
        (2, 0.3),
        (3, 0.4),
    ]


async def test_what_clients_tell_is_counted(start: Start, run_dir: Path) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    first, second = await editor.complete(uri, AT)
    tell(editor, "didShow", id=number_of(first))
    tell(editor, "didPartiallyAccept", id=number_of(first), length=2)
    tell(editor, "didReject", id=number_of(second), why="dismissed")
    assert first.command is not None
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams(first.command.command, first.command.arguments)
    )
    tell(editor, "didShow", id="no number")
    tell(editor, "didReject", id=77, why="typed")
    found = await editor.request("dgemma/statistics", {})
    total = found["total"]
    assert (total["requests"], total["shown"], total["accepted"]) == (1, 2, 1)
    assert (total["partlyAccepted"], total["rejected"], total["kept"]) == (1, 1, 0)
    assert total["latencyP50Ms"] > 0
    assert found["byLanguage"]["python"] == total
    assert found["path"].startswith(str(run_dir))
    # Closing judges what was accepted.
    editor.insert(uri, AT, "a + b")
    editor.client.text_document_did_close(
        types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
    )
    assert (await counts(editor))["kept"] == 1
    for _ in range(100):
        if written(found["path"]):
            break
        await asyncio.sleep(0.1)
    assert '"kept"' in written(found["path"])
    assert "add" not in written(found["path"])


async def test_erasing_and_turning_off(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    await editor.complete(uri, AT)
    assert (await counts(editor))["requests"] == 1
    assert (await editor.request("dgemma/eraseStatistics", {}))["total"]["requests"] == 0
    editor.client.set_configuration({"dgemma": settings(statistics=False)})
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.2)
    await editor.complete(uri, AT)
    assert (await counts(editor))["requests"] == 0


async def test_an_argument_of_older_clients_is_no_trouble(start: Start) -> None:
    editor = await start()
    for arguments in (None, [], [{"uri": "x"}], ["x"], [12345]):
        await editor.client.workspace_execute_command_async(
            types.ExecuteCommandParams("dgemma.accepted", arguments)
        )
    assert (await counts(editor))["accepted"] == 0


@pytest.mark.parametrize("broken", ["{", "[]", "\x00"])
async def test_a_broken_file_disturbs_nobody(start: Start, run_dir: Path, broken: str) -> None:
    path = run_dir / "state" / "dgemma" / "statistics.json"
    path.parent.mkdir(parents=True)
    path.write_text(broken)
    editor = await start()
    assert await editor.complete(editor.open(SOURCE), AT)
    assert (await counts(editor))["requests"] == 1
    assert editor.client.messages == []
