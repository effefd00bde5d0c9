"""Several holes over stdio: with a scripted engine, and with the real model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from support.editors import Editor
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

from dgemma_lsp.cli.main import main
from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText

TWO = "# 漢🦜\ndef add(a, b):\n    return ___\n\nprint(add(___, 2))\n"
FAR = "# far\na = ___\n" + "filler = 'filler'\n" * 200 + "b = ___\n"
RULES = [
    {"when": "# slow", "spans": ["1", "2"], "text": "1", "steps": 20, "step_ms": 50},
    {"when": "# fault", "raise": True},
    {"when": "filler", "text": "'later'"},
    {"when": "# far", "text": "'earlier'"},
    {"when": "# once\nx = 1\ny = ", "text": "2"},
    {"when": "# once", "spans": ["1", "for for"]},
    {"when": "# never", "text": "for for"},
    {"when": "def add", "spans": ["a + b", "1"], "text": "a - b"},
    {"when": "# given", "spans": ["cost", "'t'", "1"], "text": "alone"},
    {"when": "// todo", "text": "return a + b;"},
]


@pytest.fixture
def scripted(run_dir: Path) -> Iterator[Scripted]:
    one = Scripted(run_dir, rules=RULES)
    yield one
    one.kill()


@pytest_asyncio.fixture
async def start(scripted: Scripted, run_dir: Path) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one


async def fill(editor: Editor, uri: str, **more: Any) -> dict[str, Any]:
    params = {"textDocument": {"uri": uri, "version": editor.versions[uri]}}
    return await editor.request("dgemma/fillHoles", params | more)


def applied(editor: Editor, uri: str, edit: dict[str, Any]) -> str:
    """The document after all edits of an answer."""
    (document,) = edit["documentChanges"]
    assert document["textDocument"] == {"uri": uri, "version": editor.versions[uri]}
    text = editor.texts[uri]
    for change in reversed(document["edits"]):
        start, end = (editor.offset(uri, change["range"][side]) for side in ("start", "end"))
        text = text[:start] + change["newText"] + text[end:]
    return text


# -- the methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_two_blanks_on_one_canvas(start: Start, encoding: str, newline: str) -> None:
    editor = await start(None, encoding)
    source = TWO.replace("add(___, 2)", "'🦜', add(___, 2)").replace("\n", newline)
    uri = editor.open(source)
    found = await editor.request("dgemma/holes", {"textDocument": {"uri": uri}})
    assert [each["mark"] for each in found["holes"]] == ["blank", "blank"]
    assert found["message"] is None
    assert (await editor.request("dgemma/status", {}))["runtime"] is None  # nobody was asked
    result = await fill(editor, uri)
    assert [each["text"] for each in result["holes"]] == ["a + b", "1"]
    assert [each["oldText"] for each in result["holes"]] == ["___", "___"]
    assert [each["range"] for each in result["holes"]] == [e["range"] for e in found["holes"]]
    assert result["canvases"] == 1
    assert result["reason"] is None
    expected = source.replace("___", "a + b", 1).replace("___", "1")
    assert applied(editor, uri, result["edit"]) == expected
    tokens = result["holes"][0]["tokens"]
    assert [(each["start"], each["end"]) for each in tokens] == [(i, i + 1) for i in range(5)]
    assert {each["probability"] for each in tokens} == {0.9}


async def test_holes_that_are_far_apart_take_several_canvases(start: Start) -> None:
    editor = await start()
    uri = editor.open(FAR)
    result = await fill(editor, uri)
    assert result["canvases"] == 2
    assert [each["text"] for each in result["holes"]] == ["'earlier'", "'later'"]


async def test_an_unsound_text_is_tried_once_more_with_the_others_known(start: Start) -> None:
    editor = await start()
    uri = editor.open("# once\nx = ___\ny = ___\n")
    result = await fill(editor, uri)
    assert [each["text"] for each in result["holes"]] == ["1", "2"]
    assert result["canvases"] == 2
    assert applied(editor, uri, result["edit"]) == "# once\nx = 1\ny = 2\n"


async def test_what_stays_unsound_is_told_and_the_rest_filled(start: Start) -> None:
    editor = await start()
    uri = editor.open("# once\nx = ___\nz = ___\n")
    result = await fill(editor, uri)
    assert [each["text"] for each in result["holes"]] == ["1", None]
    assert result["holes"][1]["reason"]
    assert result["holes"][1]["tokens"] == []
    assert applied(editor, uri, result["edit"]) == "# once\nx = 1\nz = ___\n"
    none = editor.open("# never\nx = ___\n", "b.py")
    result = await fill(editor, none)
    assert result["edit"] is None
    assert result["reason"] == "all_rejected"
    assert result["holes"][0]["reason"] == "adds_syntax_error"


async def test_the_placeholder_under_a_comment(start: Start) -> None:
    editor = await start()
    source = "// todo\r\n// TODO: add them\r\nfunction add(a, b) {}\r\n"
    uri = editor.open(source, "a.js", "javascript")
    result = await fill(editor, uri)
    assert [(h["mark"], h["oldText"], h["text"]) for h in result["holes"]] == [
        ("todo", "", "\r\n    return a + b;\r\n")
    ]
    assert applied(editor, uri, result["edit"]) == source.replace(
        "{}", "{\r\n    return a + b;\r\n}"
    )
    start_of_text = result["holes"][0]["tokens"][0]["start"]
    assert result["holes"][0]["text"][start_of_text] == "r"


async def test_several_cursors_and_selections(start: Start) -> None:
    editor = await start()
    text = "# given\ntotal = price\nname = \nprint(, total)\n"
    uri = editor.open(text)
    at = text.index("name = ") + 7
    inside = text.index("(,") + 1
    price = text.index("price")
    ranges = [
        editor.range(uri, inside, inside),
        editor.range(uri, price, price + 5),
        editor.range(uri, at, at),
        editor.range(uri, at, at),
    ]
    result = await fill(editor, uri, holes=ranges)
    assert [(h["mark"], h["text"]) for h in result["holes"]] == [
        ("given", "cost"),
        ("given", "'t'"),
        ("given", "1"),
    ]
    done = applied(editor, uri, result["edit"])
    assert done == "# given\ntotal = cost\nname = 't'\nprint(1, total)\n"
    overlapping = [editor.range(uri, price, price + 5), editor.range(uri, price + 2, price + 3)]
    assert (await fill(editor, uri, holes=overlapping))["reason"] == "overlapping"


async def test_only_those_in_a_range(start: Start) -> None:
    editor = await start()
    uri = editor.open(TWO)
    range_ = editor.range(uri, 0, TWO.index("print"))
    found = await editor.request("dgemma/holes", {"textDocument": {"uri": uri}, "range": range_})
    assert len(found["holes"]) == 1
    result = await fill(editor, uri, range=range_)
    assert [each["text"] for each in result["holes"]] == ["a - b"]


async def test_nothing_to_fill(start: Start) -> None:
    editor = await start()
    uri = editor.open("x = 1\n")
    found = await editor.request("dgemma/holes", {"textDocument": {"uri": uri}})
    assert found["holes"] == []
    assert "___" in found["message"]
    result = await fill(editor, uri)
    assert (result["reason"], result["edit"], result["canvases"]) == ("no_holes", None, 0)
    assert (await fill(editor, editor.open("", "b.py"), holes=[]))["reason"] == "no_holes"


async def test_what_may_not_be_read_is_not(start: Start) -> None:
    editor = await start()
    uri = editor.open(TWO, ".env")
    assert (await fill(editor, uri))["reason"] == "ignored_file"
    found = await editor.request("dgemma/holes", {"textDocument": {"uri": uri}})
    assert (found["holes"], found["message"]) == ([], "ignored_file")
    editor.versions["file:///no.py"] = 1
    assert (await fill(editor, "file:///no.py"))["reason"] == "unknown_document"
    assert (await editor.request("dgemma/status", {}))["runtime"] is None


async def test_modes(start: Start) -> None:
    manual = await start(settings(mode="manual"))
    assert (await fill(manual, manual.open(TWO)))["edit"] is not None
    off = await start(settings(mode="off"))
    assert (await fill(off, off.open(TWO)))["reason"] == "off"


async def test_a_document_that_moves_on_gets_no_edit(start: Start) -> None:
    editor = await start()
    uri = editor.open("# slow\nx = ___\ny = ___\n")
    asked = asyncio.create_task(fill(editor, uri))
    await asyncio.sleep(0.3)
    editor.insert(uri, 0, "#")
    result = await asked
    assert (result["reason"], result["edit"], result["holes"]) == ("stale", None, [])
    old = {"textDocument": {"uri": uri, "version": 1}}
    assert (await editor.request("dgemma/fillHoles", old))["reason"] == "stale"


async def test_cancelling_ends_the_work(start: Start) -> None:
    editor = await start()
    uri = editor.open("# slow\nx = ___\ny = ___\n")
    asked = editor.client.protocol.send_request(
        "dgemma/fillHoles", {"textDocument": {"uri": uri}}, msg_id="to be cancelled"
    )
    await asyncio.sleep(0.3)
    editor.client.cancel_request(types.CancelParams("to be cancelled"))
    with pytest.raises(Exception, match="cancel"):
        await asyncio.wait_for(asyncio.wrap_future(asked), 5)
    result = await fill(editor, editor.open(TWO, "b.py"))
    assert result["edit"] is not None


async def test_previews_name_canvas_and_ranges(start: Start) -> None:
    editor = await start()
    told: list[Any] = []
    editor.client.feature("dgemma/preview")(lambda params: told.append(params))
    uri = editor.open(TWO)
    result = await fill(editor, uri, previewToken="t", previewEveryMs=0)
    assert told
    first = told[0]
    assert first.token == "t"
    assert first.canvas == 0
    assert len(first.spans) == len(first.ranges) == 2
    assert first.ranges[0].start.line == result["holes"][0]["range"]["start"]["line"]


async def test_a_runtime_that_fails_is_told(start: Start) -> None:
    editor = await start()
    result = await fill(editor, editor.open("# fault\nx = ___\n"))
    assert (result["reason"], result["edit"]) == ("engine_fault", None)
    assert result["holes"][0]["reason"] == "engine_fault"


# -- the command --------------------------------------------------------------------------------


@pytest.fixture
def command(scripted: Scripted, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("dgemma_lsp.cli.holes.settings_of", lambda _: settings())
    path = run_dir / "two.py"
    path.write_bytes(TWO.replace("\n", "\r\n").encode())
    return path


def test_the_command_prints_lists_and_writes(
    command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = command.read_bytes()
    assert main(["holes", str(command), "--list"]) == 0
    assert capsys.readouterr().out == f"{command}:3:12: blank\n{command}:5:11: blank\n"
    assert main(["holes", str(command)]) == 0
    assert capsys.readouterr().out == f"{command}:3:12: a + b\n{command}:5:11: 1\n"
    assert main(["holes", str(command), "--diff"]) == 0
    assert "+    return a + b" in capsys.readouterr().out
    assert main(["holes", str(command), "--at", "1:1", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["holes"][0]["mark"] == "given"
    assert command.read_bytes() == before
    assert main(["holes", str(command), "--write"]) == 0
    assert command.read_bytes() == before.replace(b"___", b"a + b", 1).replace(b"___", b"1")
    assert main(["holes", str(command)]) == 1
    assert "no hole" in capsys.readouterr().err
    assert main(["holes", str(command), "--at", "x"]) == 1
    assert "LINE:COL" in capsys.readouterr().err


# -- the real model -----------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.model
async def test_the_real_model_fills_two_blanks(run_dir: Path) -> None:
    source = "def mean(values):\n    total = sum(___)\n    return total / ___\n"
    async for start in starting(run_dir):
        editor = await start({"debounceMs": 0, "deadlineMs": 20_000})
        uri = editor.open(source)
        result = await fill(editor, uri)
        assert result["model"].startswith("SmolLM2")
        texts = [each["text"] for each in result["holes"]]
        assert texts[0] == "values"
        assert all(texts)
        done = applied(editor, uri, result["edit"])
        assert "___" not in done
        assert count_errors(ParsedText(done, by_id("python").usable_grammar())) == 0
        assert result["holes"][0]["tokens"]
        await editor.request("dgemma/stopRuntime", {})
