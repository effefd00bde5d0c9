"""The language server over stdio, a real runtime process, a scripted engine: an editor's view."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.editors import units
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

from dgemma_wire import endpoint

RULES = [
    {"when": "# slow", "text": "late", "steps": 100, "step_ms": 20},
    {"when": "# tardy", "text": "late", "steps": 10, "step_ms": 40},
    {"when": "# broken", "text": "= = =", "others": ["for for"]},
    {"when": "# crash", "crash": True},
    {"when": "# fault", "raise": True},
    {"when": "def add", "text": "a + b", "others": ["b + a"]},
    {"when": "price", "text": "total * rate"},
]
SOURCE = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"
AT = SOURCE.index("return ") + len("return ")


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    scripted = Scripted(run_dir, rules=RULES, load_ms=50)
    async for one in starting(run_dir):
        yield one
    scripted.kill()


def pid_of(run_dir: Path) -> int:
    one = endpoint.read_endpoint(endpoint.endpoint_path(run_dir, "scripted"))
    assert one is not None
    return one.pid


async def test_fill(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    items = await editor.complete(uri, AT)
    assert [item.insert_text for item in items] == ["a + b", "b + a"]
    assert "return a + b\n" in editor.apply(uri, items[0])
    # An automatic request offers one, and it is the best.
    assert next(i.insert_text for i in await editor.complete(uri, AT, invoked=False)) == "a + b"


async def test_accepting_runs_the_items_command(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    (item, *_) = await editor.complete(uri, AT)
    assert item.command is not None
    await editor.client.workspace_execute_command_async(
        types.ExecuteCommandParams(item.command.command, item.command.arguments)
    )
    status = await editor.request("dgemma/status", {})
    assert status["accepted"] == 1
    assert status["shown"] == 1


async def test_typing_into_a_candidate_asks_nobody(start: Start, run_dir: Path) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    await editor.complete(uri, AT)
    os.kill(pid_of(run_dir), signal.SIGKILL)  # whoever answers now is the server's own cache
    offset = AT
    for typed in "a + ":
        editor.insert(uri, offset, typed)
        offset += 1
        (item,) = await editor.complete(uri, offset, invoked=False)
        assert item.insert_text == "a + b"[offset - AT :]


async def test_cancel(start: Start) -> None:
    editor = await start()
    slow = editor.open("# slow\nx = \n", "slow.py")
    fine = editor.open(SOURCE)
    await editor.complete(fine, AT)
    asked = editor.client.protocol.send_request(
        "textDocument/inlineCompletion",
        types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
            text_document=types.TextDocumentIdentifier(slow),
            position=types.Position(1, 4),
        ),
        msg_id="to be cancelled",
    )
    await asyncio.sleep(0.2)
    editor.client.cancel_request(types.CancelParams("to be cancelled"))
    with pytest.raises(JsonRpcException, match="cancel"):
        await asyncio.wait_for(asyncio.wrap_future(asked), 5)
    began = time.monotonic()
    editor.insert(fine, 0, "\n")
    assert await editor.complete(fine, AT + 1)
    assert time.monotonic() - began < 1.0  # the 2 s of the cancelled one are not waited for


async def test_a_superseded_request_answers_an_empty_list(start: Start) -> None:
    editor = await start()
    uri = editor.open("# slow\nx = \ndef add(a, b):\n    return \n")
    older = [asyncio.create_task(editor.complete(uri, len("# slow\nx = "))) for _ in range(3)]
    await asyncio.sleep(0.2)
    editor.insert(uri, 0, "y = 1\n")
    editor.client.text_document_did_close(
        types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
    )
    uri2 = editor.open(SOURCE, "a.py")
    newest = await editor.complete(uri2, AT)
    assert [item.insert_text for item in newest] == ["a + b", "b + a"]
    assert await asyncio.gather(*older) == [[], [], []]


async def test_a_stale_answer_is_not_shown(start: Start) -> None:
    editor = await start()
    source = "# tardy\nx = \n"
    uri = editor.open(source)
    asked = asyncio.create_task(editor.complete(uri, len("# tardy\nx = ")))
    await asyncio.sleep(0.15)
    editor.insert(uri, len("# tardy\nx = "), "q")  # the document moves on
    assert await asked == []
    status = await editor.request("dgemma/status", {})
    assert status["silent"] == {"stale": 1}


async def test_nothing_good_is_an_empty_list(start: Start) -> None:
    editor = await start()
    uri = editor.open("# broken\nx = \ny = 1\n")
    assert await editor.complete(uri, len("# broken\nx = ")) == []
    uri = editor.open("nobody answers here\n", "b.py")
    assert await editor.complete(uri, 0) == []
    uri = editor.open("# fault\nx = \n", "c.py")
    assert await editor.complete(uri, len("# fault\nx = ")) == []
    status = await editor.request("dgemma/status", {})
    assert status["silent"] == {"all_rejected": 2, "engine_fault": 1}
    assert status["rejected"]["adds_syntax_error"] >= 1


async def test_a_killed_runtime_is_started_again(start: Start, run_dir: Path) -> None:
    editor = await start()
    uri = editor.open("# slow\nx = \n")
    good = editor.open(SOURCE, "b.py")
    asked = asyncio.create_task(editor.complete(uri, len("# slow\nx = ")))
    path = endpoint.endpoint_path(run_dir, "scripted")
    for _ in range(600):  # a busy machine needs its time to start it
        if endpoint.read_endpoint(path) is not None:
            break
        await asyncio.sleep(0.1)
    first = pid_of(run_dir)
    os.kill(first, signal.SIGKILL)
    assert await asyncio.wait_for(asked, 5) == []
    assert next(i.insert_text for i in await editor.complete(good, AT)) == "a + b"
    assert pid_of(run_dir) != first


async def test_a_runtime_that_crashes_on_a_request(start: Start) -> None:
    editor = await start()
    uri = editor.open("# crash\nx = \n")
    assert await editor.complete(uri, len("# crash\nx = ")) == []
    good = editor.open(SOURCE, "b.py")
    assert await editor.complete(good, AT)


async def test_two_servers_share_one_runtime(start: Start, run_dir: Path) -> None:
    one, two = await asyncio.gather(start(), start())
    uris = one.open(SOURCE), two.open(SOURCE)
    answers = await asyncio.gather(one.complete(uris[0], AT), two.complete(uris[1], AT))
    assert all(answers)
    states = [await editor.request("dgemma/status", {}) for editor in (one, two)]
    assert {s["runtime"]["pid"] for s in states} == {pid_of(run_dir)}
    assert states[0]["runtime"]["peers"] == 2


async def test_version_mismatch_is_told_once(start: Start, run_dir: Path) -> None:
    from dgemma_wire import endpoint

    async def future_runtime(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import struct

        import msgpack

        await reader.read(100)
        refused = {
            "type": "refused",
            "code": "protocol",
            "reason": "Protocol 1 is not spoken here.",
            "protocol": 9,
            "release": "9.9",
            "pid": 1,
        }
        body = msgpack.packb(refused)
        writer.write(struct.pack(">I", len(body)) + body)
        writer.close()

    sock = endpoint.socket_path(run_dir, "scripted")
    server = await asyncio.start_unix_server(future_runtime, sock)
    endpoint.write_endpoint(
        endpoint.endpoint_path(run_dir, "scripted"),
        endpoint.Endpoint(token="t", pid=os.getpid(), release="9.9", path=str(sock)),
    )
    editor = await start()
    uri = editor.open(SOURCE)
    assert await editor.complete(uri, AT) == []
    assert await editor.complete(uri, AT) == []
    texts = [message.message for message in editor.client.messages]
    assert len(texts) == 1
    assert "9.9" in texts[0]
    assert "dgemma stop" in texts[0]
    server.close()
    endpoint.endpoint_path(run_dir, "scripted").unlink()


async def test_bad_settings_are_told_once_and_change_nothing(start: Start) -> None:
    editor = await start(settings(debounceMs="soon"), options=settings())
    uri = editor.open(SOURCE)
    assert await editor.complete(uri, AT)  # the options it was started with are in force
    (message,) = editor.client.messages
    assert "dgemma.debounceMs" in message.message
    editor.client.set_configuration({"dgemma": {"modee": "off"}})
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.2)
    assert "modee" in editor.client.messages[-1].message
    assert await editor.complete(uri, AT)


async def test_settings_take_effect_while_it_runs(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)

    async def set_mode(mode: str) -> None:
        editor.client.set_configuration({"dgemma": settings(mode=mode)})
        editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
        await asyncio.sleep(0.2)

    await set_mode("manual")
    assert await editor.complete(uri, AT, invoked=False) == []
    status = await editor.request("dgemma/status", {})
    assert status["declined"] == {"manual_only": 1}
    assert status["runtime"] is None  # manual means that nothing was sent, nor started
    assert await editor.complete(uri, AT)
    await set_mode("off")
    assert await editor.complete(uri, AT) == []


@pytest.mark.parametrize("name", [".env", "deploy/.env.local", "id_rsa", "certs/server.PEM"])
async def test_secrets_are_never_sent(start: Start, name: str) -> None:
    editor = await start()
    uri = editor.open(SOURCE, name)
    assert await editor.complete(uri, AT) == []
    status = await editor.request("dgemma/status", {})
    assert status["declined"] == {"ignored_file": 1}
    assert status["runtime"] is None


async def test_a_completion_menu_item_is_left_alone(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    assert await editor.complete(uri, AT, invoked=False, selected=True) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_wide_characters_tabs_and_line_ends(
    start: Start, encoding: str, newline: str
) -> None:
    editor = await start(None, encoding)
    source = newline.join(
        [
            "# 数量と価格 👩‍👩‍👧 é",
            "def price(total, rate):",
            "\tlabel = '値段🦜'; return ",
            "",
            "x = 1",
            "",
        ]
    )
    uri = editor.open(source)
    at = source.index("return ") + len("return ")
    (item,) = await editor.complete(uri, at)
    assert item.insert_text == "total * rate"
    assert item.range is not None
    line = source[:at].replace("\r\n", "\n").rsplit("\n", 1)[1]
    assert item.range.start.character == units(line, encoding)
    # Typed after, before and between: the server's text stays the editor's.
    editor.insert(uri, at, "🦜 + ")
    editor.insert(uri, source.index("価格"), "漢")
    at = editor.texts[uri].index("🦜 + ") + len("🦜 + ")
    (item,) = await editor.complete(uri, at)
    assert "return 🦜 + total * rate" in editor.apply(uri, item)


async def test_positions_out_of_range_and_inside_characters(start: Start) -> None:
    editor = await start()
    uri = editor.open("def add(a, b):\n    return 🦜\n")
    for line, character in [(0, 10_000), (10_000, 0), (1, 12), (2, 5)]:
        answer = await editor.client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
                text_document=types.TextDocumentIdentifier(uri),
                position=types.Position(line, character),
            )
        )
        assert isinstance(answer, types.InlineCompletionList)


async def test_end_of_file_and_empty_file(start: Start) -> None:
    editor = await start()
    uri = editor.open("def add(a, b):\n    return ")
    assert next(i.insert_text for i in await editor.complete(uri, 26)) == "a + b"
    empty = editor.open("", "empty.py")
    assert await editor.complete(empty, 0) == []  # the script knows no answer; no error either
    unknown = editor.open("def add", "no-such-language.zzz", "zzz")
    assert next(i.insert_text for i in await editor.complete(unknown, 7)) == "a + b"


async def test_a_file_of_50_000_lines(start: Start) -> None:
    editor = await start()
    body = "".join(f"value_{n} = {n}\n" for n in range(49_990))
    source = body + SOURCE
    uri = editor.open(source)
    at = len(body) + AT
    assert next(i.insert_text for i in await editor.complete(uri, at)) == "a + b"
    for typed in "a +":
        editor.insert(uri, at, typed)
        at += 1
    (item,) = await editor.complete(uri, at, invoked=False)
    assert item.insert_text == " b"


async def test_a_document_that_was_never_opened(start: Start) -> None:
    editor = await start()
    editor.texts["file:///elsewhere.py"] = ""
    assert await editor.complete("file:///elsewhere.py", 0) == []


async def test_untitled_and_renamed_buffers(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE, "old.py")
    assert await editor.complete(uri, AT)
    editor.client.text_document_did_close(
        types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
    )
    renamed = editor.open(SOURCE, "new.py")
    assert await editor.complete(renamed, AT)
    assert await editor.complete(uri, AT) == []  # the old name is nobody's now
    untitled = "untitled:Untitled-1"
    editor.texts[untitled], editor.versions[untitled] = SOURCE, 1
    editor.client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(untitled, "python", 1, SOURCE))
    )
    assert await editor.complete(untitled, AT)


async def test_loading_shows_progress(start: Start) -> None:
    editor = await start(work_done_progress=True)
    uri = editor.open(SOURCE)
    assert await editor.complete(uri, AT)
    await asyncio.sleep(0.2)
    (reports,) = editor.client.progress_reports.values()
    kinds = [report.kind for report in reports]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert "ready on cpu" in reports[-1].message


async def test_our_own_fill_method_tells_everything(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    params = {
        "textDocument": {"uri": uri},
        "position": {"line": 1, "character": 11},
        "candidates": 2,
    }
    result = await editor.request("dgemma/fill", params)
    assert result["text"] == "a + b"
    assert result["kind"] == "line"
    assert result["candidates"][0]["verdict"]["parser"] == "python"
    assert result["timings"]["runtime"]["stepMs"]
    with pytest.raises(JsonRpcException, match="position"):
        await editor.request("dgemma/fill", {"textDocument": {"uri": uri}})


async def test_source_text_stays_out_of_the_log(start: Start, run_dir: Path) -> None:
    editor = await start()
    uri = editor.open("hunter2 = 1\n" + SOURCE)
    assert await editor.complete(uri, AT + len("hunter2 = 1\n"))
    fault = editor.open("# fault hunter2\nx = \n", "b.py")
    assert await editor.complete(fault, len("# fault hunter2\nx = ")) == []
    log = (run_dir / "lsp.log").read_text()
    assert "client:" in log
    assert "hunter2" not in log
    assert "a + b" not in log


async def test_a_fault_of_ours_is_silence(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dgemma_lsp import server as module
    from dgemma_lsp.server import create_server

    async def fault(*_: object) -> None:
        raise ValueError("x = hunter2")

    monkeypatch.setattr(module.inline_completion, "inline_completion", fault)
    server = create_server("0")
    handler = server.protocol.fm.features["textDocument/inlineCompletion"]
    answer = await handler(None)
    assert answer == types.InlineCompletionList(items=[])
    assert "ValueError" in caplog.text
    assert "hunter2" not in caplog.text
