"""Rewrites and workspace adapters over stdio, with a real runtime process and a scripted engine."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.editors import Editor
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

from dgemma_lsp.cli import rewrite as command
from dgemma_lsp.cli.main import main
from dgemma_wire.adapters import WEIGHTS_FILE, adapter_id, make_adapter_folder

SOURCE = "# 漢🦜\ndef add(a, b):\n    c = a + b\n    return c\n\n\nprint(add(1, 2))\n"
BODY = "    c = a + b\n    return c\n"
REWRITES = [
    {"kind": "inline", "instruction": "inline the variable", "success": 0.8},
    {"kind": "rename", "instruction": "rename {a} to {b}", "success": 0.5},
    {
        "kind": "types",
        "instruction": "add type annotations",
        "success": 0.6,
        "languages": ["python"],
    },
]
RULES = [
    {"when": "slow", "instruction": "inline the variable", "text": "x", "step_ms": 300},
    {"when": "late", "instruction": "inline the variable", "text": "x = 2", "stopped": "deadline"},
    {"when": "long", "instruction": "inline the variable", "text": "x = 2", "complete": False},
    {"when": "def add", "instruction": "inline the variable", "text": "    return a + b"},
    {
        "instruction": "rename c to total",
        "text": "    total = (a",
        "others": ["    total = a + b\n    return total\n"],
    },
    {"when": "def add", "adapter": "mine", "text": "mine"},
    {"when": "def add", "text": "own"},
]


@pytest.fixture
def scripted(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scripted]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    one = Scripted(run_dir, rules=RULES, rewrites=REWRITES, adapters=["mine"])
    yield one  # type: ignore[misc]
    one.kill()


@pytest_asyncio.fixture
async def start(scripted: Scripted, run_dir: Path) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one


async def rewrite(
    editor: Editor, uri: str, text: str, instruction: str, **more: Any
) -> dict[str, Any]:
    at = editor.texts[uri].index(text)
    params = {
        "textDocument": {"uri": uri, "version": editor.versions[uri]},
        "range": editor.range(uri, at, at + len(text)),
        "instruction": instruction,
    }
    return await editor.request("dgemma/rewrite", params | more)


# -- the method ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_a_selection_becomes_a_versioned_edit(start: Start, encoding: str) -> None:
    editor = await start(None, encoding)
    uri = editor.open(SOURCE.replace("c", "漢"))
    editor.insert(uri, 0, "#\n")
    result = await rewrite(editor, uri, BODY.replace("c", "漢"), "Inline  the variable")
    expected = "#\n" + SOURCE.replace("c", "漢").replace(
        BODY.replace("c", "漢"), "    return a + b\n"
    )
    assert editor.replace(uri, result["edit"]) == expected
    assert result["reason"] is None
    assert result["instruction"] == "inline the variable"
    assert result["candidates"][0]["verdict"]["parser"] == "python"
    assert result["timings"]["runtime"]["stepMs"]


async def test_the_best_candidate_that_parses_is_taken(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY, "rename c to total", candidates=2)
    changed = editor.replace(uri, result["edit"])
    assert "    total = a + b\n    return total\n\n\n" in changed
    verdicts = [c["verdict"]["reason"] for c in result["candidates"]]
    assert verdicts == [None, "adds_syntax_error"]


async def test_no_edit_and_the_reason(start: Start) -> None:
    editor = await start()
    inline = "inline the variable"
    for number, (source, text, instruction, reason) in enumerate(
        [
            (SOURCE, BODY, "make it nicer", "not_offered"),
            (SOURCE, "\n\n\n", inline, "nothing_selected"),
            ("x = 1 + 1" * 200, "x = 1", inline, "too_long"),
            (SOURCE, BODY, "rename x to y", "all_rejected"),
            ("late\nx = 1\n", "x = 1", inline, "all_rejected"),
            ("long\nx = 1\n", "x = 1", inline, "all_rejected"),
        ]
    ):
        uri = editor.open(source, f"{number}.py")
        result = await rewrite(editor, uri, text, instruction)
        assert (result["edit"], result["reason"]) == (None, reason), source
        assert result["message"]
    status = await editor.request("dgemma/status", {})
    assert status["declined"] == {"not_offered": 1, "nothing_selected": 1, "too_long": 1}
    assert status["rejected"] == {"empty": 1, "cut_off": 2}


async def test_a_document_of_another_version_is_left_alone(start: Start) -> None:
    editor = await start()
    uri = editor.open("slow\nx = 1\n")
    await editor.request("dgemma/rewrites", {})  # the runtime is there
    old = {"uri": uri, "version": 0}
    result = await rewrite(editor, uri, "x = 1", "inline the variable", textDocument=old)
    assert (result["edit"], result["reason"]) == (None, "stale")
    asked = asyncio.create_task(rewrite(editor, uri, "x = 1", "inline the variable"))
    await asyncio.sleep(0.2)
    editor.insert(uri, 0, "y = 1\n")
    result = await asked
    assert (result["edit"], result["reason"]) == (None, "stale")
    status = await editor.request("dgemma/status", {})
    assert status["silent"]["stale"] == 2


async def test_a_fill_elsewhere_does_not_end_a_rewrite(start: Start) -> None:
    editor = await start()
    uri = editor.open("slow\nx = 1\ndef add(a, b):\n    return \n")
    await editor.request("dgemma/rewrites", {})
    asked = asyncio.create_task(rewrite(editor, uri, "x = 1", "inline the variable"))
    await asyncio.sleep(0.1)
    items = await editor.complete(uri, editor.texts[uri].index("return ") + 7)
    assert items[0].insert_text == "own"
    assert (await asked)["edit"] is not None


async def test_settings_forbid_a_rewrite_too(start: Start) -> None:
    editor = await start()
    secret = editor.open(SOURCE, ".env")
    assert (await rewrite(editor, secret, BODY, "inline the variable"))["reason"] == "ignored_file"
    off = await start(settings(mode="off"))
    uri = off.open(SOURCE)
    assert (await rewrite(off, uri, BODY, "inline the variable"))["reason"] == "off"
    for each in (editor, off):
        assert (await each.request("dgemma/status", {}))["runtime"] is None


async def test_wrong_parameters_are_told(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    with pytest.raises(JsonRpcException, match="instruction"):
        await rewrite(editor, uri, BODY, None)  # type: ignore[arg-type]


async def test_what_is_offered(start: Start) -> None:
    editor = await start()
    assert (await editor.request("dgemma/status", {}))["rewrites"] == []
    found = (await editor.request("dgemma/rewrites", {"language": "go"}))["rewrites"]
    assert [offer["kind"] for offer in found] == ["inline", "rename"]
    assert found[0]["success"] == 0.8
    found = (await editor.request("dgemma/rewrites", {}))["rewrites"]
    assert [offer["kind"] for offer in found] == ["inline", "rename", "types"]
    assert (await editor.request("dgemma/status", {}))["rewrites"] == found


async def test_without_a_runtime_nothing_is_offered(start: Start) -> None:
    editor = await start(settings(runtimeCommand=["/no/such/command"]))
    found = await editor.request("dgemma/rewrites", {})
    assert found["rewrites"] == []
    assert found["message"]
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY, "inline the variable")
    assert result["reason"] == "no_runtime"


# -- code actions -------------------------------------------------------------------------------


async def actions(editor: Editor, uri: str, text: str, **context: Any) -> list[types.CodeAction]:
    at = editor.texts[uri].index(text)
    here = types.Range(editor.position(uri, at), editor.position(uri, at + len(text)))
    found = await editor.client.text_document_code_action_async(
        types.CodeActionParams(
            types.TextDocumentIdentifier(uri), here, types.CodeActionContext([], **context)
        )
    )
    assert found is not None
    assert all(isinstance(each, types.CodeAction) for each in found)
    return [each for each in found if isinstance(each, types.CodeAction)]


async def test_actions_are_listed_for_free_and_resolved_when_chosen(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    assert await actions(editor, uri, BODY) == []  # nobody was asked, so nothing is known
    assert (await editor.request("dgemma/status", {}))["runtime"] is None
    await editor.request("dgemma/rewrites", {})
    found = await actions(editor, uri, BODY)
    assert [each.title for each in found] == [
        "dgemma: inline the variable",
        "dgemma: add type annotations",
    ]
    assert {each.kind for each in found} == {types.CodeActionKind.RefactorRewrite}
    assert all(each.edit is None for each in found)
    resolved = await editor.client.code_action_resolve_async(found[0])
    assert resolved.edit is not None
    assert resolved.edit.document_changes is not None
    (change,) = resolved.edit.document_changes
    assert isinstance(change, types.TextDocumentEdit)
    assert (change.text_document.uri, change.text_document.version) == (uri, 1)
    (edit,) = change.edits
    assert isinstance(edit, types.TextEdit)
    assert edit.new_text == "    return a + b"
    assert (edit.range.start.line, edit.range.end.line) == (2, 3)


async def test_an_action_without_an_edit_says_why(start: Start) -> None:
    editor = await start()
    uri = editor.open("late\nx = 1\n")
    await editor.request("dgemma/rewrites", {})
    found = await actions(editor, uri, "x = 1")
    resolved = await editor.client.code_action_resolve_async(found[0])
    assert resolved.edit is None
    foreign = types.CodeAction("something else", data={"of": "another server"})
    assert (await editor.client.code_action_resolve_async(foreign)).edit is None
    await asyncio.sleep(0.1)
    texts = [message.message for message in editor.client.messages]
    assert len(texts) == 2
    assert "cut_off" in texts[0]
    assert "not one of dgemma's" in texts[1]


async def test_actions_keep_out_of_the_way(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    await editor.request("dgemma/rewrites", {})
    kinds, triggers = types.CodeActionKind, types.CodeActionTriggerKind
    for wanted in ([kinds.QuickFix], [kinds.RefactorExtract], []):
        assert await actions(editor, uri, BODY, only=wanted) == []
    for wanted in ([kinds.Refactor], [kinds.Empty], [kinds.QuickFix, kinds.RefactorRewrite]):
        assert len(await actions(editor, uri, BODY, only=wanted)) == 2
    assert await actions(editor, uri, "", trigger_kind=triggers.Automatic) == []
    assert len(await actions(editor, uri, "c =", trigger_kind=triggers.Automatic)) == 2
    assert await actions(editor, uri, "\n\n\n") == []
    assert await actions(editor, editor.open(SOURCE, ".env"), BODY) == []
    other = editor.open("a b\n", "a.zzz", "zzz")
    assert [each.title for each in await actions(editor, other, "a b")] == [
        "dgemma: inline the variable"
    ]


# -- adapters of workspaces ---------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="XDG names the folder")


def put(name: str) -> None:
    (make_adapter_folder(name) / WEIGHTS_FILE).touch()


async def fill(editor: Editor, uri: str) -> Any:
    at = editor.texts[uri].index("\n\n\n") + 2
    line, character = (p := editor.position(uri, at)).line, p.character
    params = {
        "textDocument": {"uri": uri},
        "position": {"line": line, "character": character},
        "candidates": 1,
    }
    return (await editor.request("dgemma/fill", params))["candidates"][0]["text"]


@linux
async def test_a_named_adapter_answers(start: Start) -> None:
    put("mine")
    editor = await start(settings(adapter="mine"))
    assert await fill(editor, editor.open(SOURCE)) == "mine"
    status = await editor.request("dgemma/status", {})
    assert (status["adapter"], status["adapterProblem"]) == ("mine", None)
    editor.client.set_configuration({"dgemma": settings(adapter="off")})
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.2)
    assert await fill(editor, editor.open(SOURCE, "b.py")) == "own"


@linux
async def test_a_workspaces_adapter_is_found_and_used(
    start: Start, scripted: Scripted, tmp_path: Path
) -> None:
    (root := tmp_path / "repo").mkdir()
    put(adapter_id(root))
    rules = [{"when": "def add", "adapter": adapter_id(root), "text": "the repo's"}, *RULES]
    scripted.write(rules=rules, adapters=[adapter_id(root)])
    editor = await start(roots=(root,))
    assert await fill(editor, editor.open(SOURCE, (root / "a.py").as_uri())) == "the repo's"
    assert await fill(editor, editor.open(SOURCE, "elsewhere.py")) == "own"


@linux
async def test_folders_that_come_and_go_later(
    start: Start, scripted: Scripted, tmp_path: Path
) -> None:
    (root := tmp_path / "repo").mkdir()
    put(adapter_id(root))
    rules = [{"when": "def add", "adapter": adapter_id(root), "text": "the repo's"}, *RULES]
    scripted.write(rules=rules, adapters=[adapter_id(root)])
    editor = await start()
    uri = editor.open(SOURCE, (root / "a.py").as_uri())
    assert await fill(editor, uri) == "own"
    folder = types.WorkspaceFolder(root.as_uri(), "repo")
    for added, removed, expected in (([folder], [], "the repo's"), ([], [folder], "own")):
        event = types.WorkspaceFoldersChangeEvent(added, removed)
        editor.client.workspace_did_change_workspace_folders(
            types.DidChangeWorkspaceFoldersParams(event)
        )
        assert await fill(editor, uri) == expected


@linux
async def test_an_adapter_that_cannot_be_used_is_done_without_and_told(
    start: Start, scripted: Scripted
) -> None:
    put("theirs")
    editor = await start(settings(adapter="theirs"))
    assert await fill(editor, editor.open(SOURCE)) == "own"
    status = await editor.request("dgemma/status", {})
    assert status["adapter"] == ""
    assert "no theirs here" in status["adapterProblem"]
    asked = status["runtime"]["requests"]
    assert asked == 2  # with it, and without
    assert await fill(editor, editor.open(SOURCE, "b.py")) == "own"
    status = await editor.request("dgemma/status", {})
    assert status["runtime"]["requests"] == asked + 1  # it is not tried again
    result = await rewrite(editor, editor.open(SOURCE, "c.py"), BODY, "inline the variable")
    assert result["edit"] is not None


# -- the command --------------------------------------------------------------------------------


@pytest.fixture
def dgemma(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr(command, "settings_of", lambda _: settings())

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["rewrite", *arguments])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


Dgemma = Callable[..., tuple[int, str, str]]
CRLF = SOURCE.replace("\n", "\r\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "add.py"
    path.write_bytes(CRLF.encode())
    return path


def test_the_list(dgemma: Dgemma, file: Path) -> None:
    status, out, _ = dgemma(str(file), "--list")
    assert status == 0
    assert out.splitlines() == [
        " 80%  inline the variable",
        " 50%  rename {a} to {b}",
        " 60%  add type annotations",
    ]


def test_the_new_lines_are_printed(dgemma: Dgemma, file: Path) -> None:
    status, out, _ = dgemma(str(file), "--lines", "3-4", "inline the variable")
    assert (status, out) == (0, "    return a + b\n")
    assert file.read_bytes() == CRLF.encode()


def test_diff_and_write(dgemma: Dgemma, file: Path) -> None:
    status, out, _ = dgemma(str(file), "--lines", "3-4", "inline the variable", "--diff")
    assert status == 0
    assert "-    c = a + b\r\n-    return c\r\n+    return a + b\r\n" in out
    assert dgemma(str(file), "--lines", "3-4", "inline the variable", "--write")[0] == 0
    expected = CRLF.replace(BODY.replace("\n", "\r\n"), "    return a + b\r\n")
    assert file.read_bytes() == expected.encode()


def test_json_has_everything(dgemma: Dgemma, file: Path) -> None:
    status, out, _ = dgemma(str(file), "--lines", "3-4", "rename c to total", "--json")
    told = json.loads(out)
    assert status == 0
    assert told["text"] == "    total = a + b\r\n    return total"
    assert told["lines"] == [3, 4]
    assert told["instruction"] == "rename c to total"
    assert told["edit"]["documentChanges"]


def test_pinned_lines_and_several_blocks(dgemma: Dgemma, file: Path, scripted: Scripted) -> None:
    rules = [{"instruction": "inline the variable", "text": "x()"}]
    scripted.write(rules=rules, rewrites=REWRITES, spans=1)
    status, out, err = dgemma(
        *(str(file), "--lines", "2-7", "--pin", "3-6", "--noise", "0.5", "inline the variable")
    )
    expected = "x()\n    c = a + b\n    return c\n\n\nx()\n"
    assert (status, out) == (0, expected[:-1].replace("\n", "\r\n") + "\n")
    assert err == "dgemma: rewritten in 2 blocks.\n"
    status, out, err = dgemma(str(file), "--lines", "3", "--pin", "3", "inline the variable")
    assert (status, out) == (1, "")
    assert "pinned" in err


def test_no_rewrite_is_told(dgemma: Dgemma, file: Path) -> None:
    status, out, err = dgemma(str(file), "--lines", "3", "make it nicer")
    assert (status, out) == (1, "")
    assert "inline the variable" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lines", "9-12", "x"], "there is no line 12"),
        (["--lines", "0", "x"], "there is no line 0"),
        (["--lines", "4-3", "x"], "comes before"),
        (["--lines", "three", "x"], "A-B"),
        (["--lines", "3-4", "--pin", "2-3", "x"], "not among 3-4"),
        (["--lines", "3-4", "--pin", "all", "x"], "A-B"),
        (["--lines", "3"], "--list"),
        (["x"], "--lines"),
    ],
)
def test_wrong_usage_is_told(dgemma: Dgemma, file: Path, arguments: list[str], says: str) -> None:
    status, _, err = dgemma(str(file), *arguments)
    assert status == 1
    assert says in err
