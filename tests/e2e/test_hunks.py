"""Rewrites hunk by hunk over stdio: pins, previews, long selections, accept, reject, redo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.editors import Editor, plain
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

from dgemma_lsp.languages import by_id
from dgemma_lsp.syntax.errors import count_errors
from dgemma_lsp.syntax.tree import ParsedText

NAMED = "use names"
BODY = "    c = a + b  # 🦜\n    print('keep')  \n    return c\n"
SOURCE = "# 漢🦜\ndef add(a, b):\n" + BODY + "\n\nadd(1, 2)\n"
NEW = "    total = a + b\n    print('keep')  \n    return total"
RULES: list[dict[str, Any]] = [
    {
        "instruction": NAMED,
        "original": BODY.rstrip("\n"),
        "text": NEW,
        "spans": ["    total = a + b", "    return total"],
    },
    {
        "instruction": NAMED,
        "original": "    c = a + b  # 🦜",
        "text": "    total = a + b",
        "others": ["    total = (a", "    c = a + b  # 🦜", "    result = a + b"],
    },
    {
        "instruction": NAMED,
        "original": "    return c",
        "text": "    return total",
        "others": ["    return c"],
    },
    {"instruction": "be bold", "original": "    return c", "text": "    return a + b"},
    {"instruction": "say slow", "text": "    slow()", "step_ms": 100, "steps": 8},
]
REWRITES = [
    {"kind": "names", "instruction": NAMED, "success": 0.8},
    {"kind": "bold", "instruction": "be bold", "success": 0.8},
    {"kind": "slow", "instruction": "say slow", "success": 0.8},
    {"kind": "blocks", "instruction": "tidy up", "success": 0.8},
]


@pytest.fixture
def scripted(run_dir: Path) -> Iterator[Scripted]:
    one = Scripted(run_dir, rules=RULES, rewrites=REWRITES, spans=1)
    yield one
    one.kill()


@pytest_asyncio.fixture
async def start(scripted: Scripted, run_dir: Path) -> AsyncIterator[Start]:
    async for one in starting(run_dir):
        yield one


async def rewrite(
    editor: Editor, uri: str, text: str, instruction: str = NAMED, **more: Any
) -> dict[str, Any]:
    at = editor.texts[uri].index(text)
    params = {
        "textDocument": {"uri": uri, "version": editor.versions[uri]},
        "range": editor.range(uri, at, at + len(text)),
        "instruction": instruction,
    }
    return await editor.request("dgemma/rewrite", params | more)


async def resolve(editor: Editor, proposal: int, action: str, **more: Any) -> dict[str, Any]:
    params = {"proposal": proposal, "action": action} | more
    return await editor.request("dgemma/resolve", params)


def applied(editor: Editor, uri: str, edit: dict[str, Any]) -> str:
    """Return the document as it is after a versioned edit of several changes."""
    (document,) = edit["documentChanges"]
    assert document["textDocument"] == {"uri": uri, "version": editor.versions[uri]}
    return changed(editor, uri, document["edits"])


def changed(editor: Editor, uri: str, changes: list[dict[str, Any]]) -> str:
    text = editor.texts[uri]
    for change in reversed(changes):
        start, end = (editor.offset(uri, change["range"][side]) for side in ("start", "end"))
        text = text[:start] + change["newText"] + text[end:]
    return text


def replace(editor: Editor, uri: str, text: str) -> None:
    """Have another text in the editor."""
    editor.texts[uri] = text
    editor.versions[uri] += 1
    editor.client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(editor.versions[uri], uri),
            [types.TextDocumentContentChangeWholeDocument(text)],
        )
    )


def of(hunks: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(each["id"], each["oldText"], each["newText"]) for each in hunks]


FIRST = (1, "    c = a + b  # 🦜\n", "    total = a + b\n")
SECOND = (2, "    return c\n", "    return total\n")


# -- hunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_a_rewrite_comes_in_hunks_that_make_up_its_edit(start: Start, encoding: str) -> None:
    editor = await start(None, encoding)
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    assert of(result["hunks"]) == [FIRST, SECOND]
    assert result["canvases"] == 1
    whole = editor.replace(uri, result["edit"])
    assert whole == SOURCE.replace(BODY, NEW + "\n")
    assert changed(editor, uri, result["hunks"]) == whole
    for hunk in result["hunks"]:
        start_, end = (editor.offset(uri, hunk["range"][side]) for side in ("start", "end"))
        assert SOURCE[start_:end] == hunk["oldText"]
        assert hunk["tokens"]
        spelled = "".join(hunk["newText"][t["start"] : t["end"]] for t in hunk["tokens"])
        assert spelled == hunk["newText"].rstrip("\n") or spelled == hunk["newText"]


async def test_line_breaks_of_the_document_are_kept(start: Start, scripted: Scripted) -> None:
    editor = await start()
    uri = editor.open(SOURCE.replace("\n", "\r\n"))
    result = await rewrite(editor, uri, BODY.replace("\n", "\r\n"))
    assert of(result["hunks"]) == [
        (number, old.replace("\n", "\r\n"), new.replace("\n", "\r\n"))
        for number, old, new in (FIRST, SECOND)
    ]
    taken = await resolve(editor, result["proposal"], "accept")
    new = SOURCE.replace(BODY, NEW + "\n").replace("\n", "\r\n")
    assert lines_edited(editor.texts[uri], taken["edit"]) == new


def lines_edited(text: str, edit: dict[str, Any]) -> str:
    """The text after changes of whole lines."""
    lines = text.splitlines(keepends=True)
    for change in reversed(edit["documentChanges"][0]["edits"]):
        low, high = change["range"]["start"], change["range"]["end"]
        assert low["character"] == high["character"] == 0
        lines[low["line"] : high["line"]] = [change["newText"]]
    return "".join(lines)


async def test_hunks_are_taken_and_left_one_by_one(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    taken = await resolve(editor, result["proposal"], "accept", hunks=[2])
    assert of(taken["hunks"]) == [FIRST]
    assert (taken["reason"], taken["message"]) == (None, None)
    text = applied(editor, uri, taken["edit"])
    assert text == SOURCE.replace("return c\n", "return total\n")
    replace(editor, uri, text)
    again = await resolve(editor, result["proposal"], "accept", hunks=[2])
    assert (again["edit"], again["reason"]) == (None, "not_open")
    assert of(again["hunks"]) == [FIRST]
    left = await resolve(editor, result["proposal"], "reject", hunks=[1])
    assert (left["edit"], left["hunks"], left["reason"]) == (None, [], None)
    for action in ("accept", "reject", "redo"):
        none = await resolve(editor, result["proposal"], action)
        assert none["reason"] == "not_open"
        assert none["message"]


async def test_ranges_of_open_hunks_are_those_after_the_edit(
    start: Start, scripted: Scripted
) -> None:
    rule = {"instruction": NAMED, "text": NEW.replace("    total", "    x = 0\n    total")}
    scripted.write(rules=[rule], rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    taken = await resolve(editor, result["proposal"], "accept", hunks=[1])
    replace(editor, uri, applied(editor, uri, taken["edit"]))
    (rest,) = taken["hunks"]
    start_, end = (editor.offset(uri, rest["range"][side]) for side in ("start", "end"))
    assert editor.texts[uri][start_:end] == rest["oldText"] == "    return c\n"


async def test_a_proposal_is_found_again_where_its_lines_went(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    editor.insert(uri, 0, "import os\n\n")
    taken = await resolve(editor, result["proposal"], "accept", hunks=[1])
    text = applied(editor, uri, taken["edit"])
    assert text == "import os\n\n" + SOURCE.replace("c = a + b  # 🦜", "total = a + b")
    # The client does not make this edit, and is asked for nothing twice: the hunk is open again.
    both = await resolve(editor, result["proposal"], "accept")
    text = applied(editor, uri, both["edit"])
    assert text == "import os\n\n" + SOURCE.replace(BODY, NEW + "\n")
    replace(editor, uri, text.replace("print('keep')", "print('other')"))
    gone = await resolve(editor, result["proposal"], "redo")
    assert (gone["edit"], gone["hunks"], gone["reason"]) == (None, [], "stale")
    assert "changed" in gone["message"]
    replace(editor, uri, text)
    back = await resolve(editor, result["proposal"], "reject")
    assert back["reason"] == "not_open"


async def test_an_accept_that_was_undone_opens_its_hunks_again(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    taken = await resolve(editor, result["proposal"], "accept")
    replace(editor, uri, applied(editor, uri, taken["edit"]))
    assert (await resolve(editor, result["proposal"], "reject"))["reason"] == "not_open"
    replace(editor, uri, SOURCE)
    left = await resolve(editor, result["proposal"], "reject", hunks=[1])
    assert of(left["hunks"]) == [SECOND]


async def test_unknown_and_forgotten_proposals(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    strange = await resolve(editor, result["proposal"], "accept", hunks=[1, 7])
    assert (strange["reason"], strange["edit"]) == ("not_open", None)
    assert strange["message"] == "Not open: 7. These are: 1, 2."
    assert (await resolve(editor, result["proposal"], "accept", hunks=[]))["reason"] == "not_open"
    shown = await resolve(editor, result["proposal"], "show")
    assert shown["reason"] is None
    assert shown["hunks"] == result["hunks"]
    assert (await resolve(editor, 4711, "accept"))["reason"] == "unknown_proposal"
    with pytest.raises(JsonRpcException, match="action"):
        await resolve(editor, result["proposal"], "burn")
    with pytest.raises(JsonRpcException, match="noise"):
        await resolve(editor, result["proposal"], "redo", noise=0)
    identifier = types.TextDocumentIdentifier(uri)
    editor.client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))
    gone = await resolve(editor, result["proposal"], "accept")
    assert gone["reason"] == "unknown_proposal"
    assert gone["message"]


# -- redo ---------------------------------------------------------------------------------------


async def test_one_hunk_is_done_again_and_the_rest_stays(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    redone = await resolve(editor, result["proposal"], "redo", hunks=[1])
    # Shown before, broken, and the old text are passed over.
    renewed = (1, FIRST[1], "    result = a + b\n")
    assert (redone["edit"], redone["reason"]) == (None, None)
    assert of(redone["hunks"]) == [renewed, SECOND]
    assert redone["timings"]["runtime"]["stepMs"]
    nothing = await resolve(editor, result["proposal"], "redo", hunks=[1])
    assert (nothing["reason"], of(nothing["hunks"])) == ("unchanged", [renewed, SECOND])
    assert nothing["message"]
    taken = await resolve(editor, result["proposal"], "accept")
    text = applied(editor, uri, taken["edit"])
    assert text == SOURCE.replace(BODY, NEW.replace("total = a", "result = a") + "\n")


async def test_a_redo_by_another_instruction(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    strange = await resolve(editor, result["proposal"], "redo", hunks=[2], instruction="dance")
    assert strange["reason"] == "not_offered"
    assert "be bold" in strange["message"]
    assert of(strange["hunks"]) == [FIRST, SECOND]
    redone = await resolve(
        editor, result["proposal"], "redo", hunks=[2], instruction="Be  BOLD", noise=0.3
    )
    assert of(redone["hunks"]) == [FIRST, (2, SECOND[1], "    return a + b\n")]


async def test_a_redo_after_an_accept_and_a_change_elsewhere(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    taken = await resolve(editor, result["proposal"], "accept", hunks=[1])
    replace(editor, uri, "#\n" + applied(editor, uri, taken["edit"]))
    redone = await resolve(
        editor, result["proposal"], "redo", instruction="be bold", previewToken="p"
    )
    (hunk,) = redone["hunks"]
    assert hunk["newText"] == "    return a + b\n"
    start_ = editor.offset(uri, hunk["range"]["start"])
    assert editor.texts[uri][start_:].startswith("    return c\n\n\nadd")


async def test_typing_goes_on_during_a_redo(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    more = {"hunks": [2], "instruction": "say slow"}
    asked = asyncio.create_task(resolve(editor, result["proposal"], "redo", **more))
    await asyncio.sleep(0.2)
    editor.insert(uri, 0, "import os\n")
    redone = await asked
    assert of(redone["hunks"]) == [FIRST, (2, SECOND[1], "    slow()\n")]
    for hunk in redone["hunks"]:
        at = editor.offset(uri, hunk["range"]["start"])
        assert editor.texts[uri][at:].startswith(hunk["oldText"])
    # What was decided meanwhile stays so, and a newer redo ends the older one.
    older = asyncio.create_task(resolve(editor, result["proposal"], "redo", **more))
    await asyncio.sleep(0.2)
    await resolve(editor, result["proposal"], "reject", hunks=[1])
    newer = await resolve(editor, result["proposal"], "redo", hunks=[2], instruction="be bold")
    assert (await older)["reason"] == "superseded"
    assert of(newer["hunks"]) == [(2, SECOND[1], "    return a + b\n")]
    asked = asyncio.create_task(resolve(editor, result["proposal"], "redo", **more))
    await asyncio.sleep(0.2)
    editor.insert(uri, editor.texts[uri].index("keep"), "x")
    assert ((await asked)["reason"], (await asked)["hunks"]) == ("stale", [])


THREE = "    a = 1\n    keep()\n    b = 2\n    keep()\n    c = 3\n"
DONE = "    x = 1\n    keep()\n    y = 2\n    keep()\n    z = 3"


@pytest.mark.parametrize("anything", [False, True])
async def test_the_others_are_clamped_and_the_model_sees_what_all_were(
    start: Start, scripted: Scripted, anything: bool
) -> None:
    rules = [
        {"instruction": NAMED, "original": THREE.rstrip("\n"), "text": DONE},
        # Together: what was there before, the middle hunk included, though its new text is clamped.
        {
            "instruction": "be bold",
            "original": THREE.rstrip("\n"),
            "spans": ["    one()", "    three()"],
            "text": "    # nothing\n    no()",
        },
        {"instruction": "be bold", "original": "    a = 1", "text": "    one()"},
        # One after the other: the text above holds the new texts of the earlier ones.
        {
            "instruction": "be bold",
            "original": "    c = 3",
            "when": "    one()\n    keep()\n    y = 2\n    keep()\n",
            "text": "    three()",
        },
    ]
    scripted.write(
        rules=rules, rewrites=REWRITES, instructions=anything, spans=16 if anything else 1
    )
    editor = await start()
    uri = editor.open("def f():\n" + THREE)
    result = await rewrite(editor, uri, THREE)
    assert [new for _, _, new in of(result["hunks"])] == [
        "    x = 1\n",
        "    y = 2\n",
        "    z = 3\n",
    ]
    previews: list[dict[str, Any]] = []
    editor.client.feature("dgemma/preview")(lambda params: previews.append(plain(params)))
    more = {"instruction": "be bold", "previewToken": "t", "previewEveryMs": 0}
    redone = await resolve(editor, result["proposal"], "redo", hunks=[3, 1], **more)
    assert [new for _, _, new in of(redone["hunks"])] == [
        "    one()\n",
        "    y = 2\n",
        "    three()\n",
    ]
    spots = {
        editor.texts[uri][slice(*(editor.offset(uri, there[side]) for side in ("start", "end")))]
        for preview in previews
        for there in preview["ranges"]
    }
    assert spots == {"    a = 1", "    c = 3"}
    assert {each["canvas"] for each in previews} == ({0} if anything else {0, 1})


async def test_what_was_left_stands_as_it_was_in_a_redo(start: Start, scripted: Scripted) -> None:
    rules = [
        {"instruction": NAMED, "original": THREE.rstrip("\n"), "text": DONE},
        {
            "instruction": "be bold",
            "when": "    a = 1\n    keep()\n    y = 2\n    keep()\n",
            "text": "    three()",
        },
    ]
    scripted.write(rules=rules, rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open("def f():\n" + THREE)
    result = await rewrite(editor, uri, THREE)
    await resolve(editor, result["proposal"], "reject", hunks=[1])
    redone = await resolve(editor, result["proposal"], "redo", hunks=[3], instruction="be bold")
    assert of(redone["hunks"])[1] == (3, "    c = 3\n", "    three()\n")


async def test_an_insertion_and_a_deletion_are_done_again(start: Start, scripted: Scripted) -> None:
    rules = [
        {"instruction": NAMED, "text": "    a = 1\n    new()\n    keep()\n    keep()\n    c = 3"},
        {"instruction": "be bold", "original": "    new()", "text": "    newer()"},
        {"instruction": "be bold", "original": "    b = 2", "text": "    b = 4"},
    ]
    scripted.write(rules=rules, rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open("def f():\n" + THREE)
    result = await rewrite(editor, uri, THREE)
    assert of(result["hunks"]) == [(1, "", "    new()\n"), (2, "    b = 2\n", "")]
    redone = await resolve(editor, result["proposal"], "redo", instruction="be bold")
    assert of(redone["hunks"]) == [(1, "", "    newer()\n"), (2, "    b = 2\n", "    b = 4\n")]
    taken = await resolve(editor, result["proposal"], "accept")
    expected = "def f():\n" + THREE.replace(
        "    keep()\n    b = 2", "    newer()\n    keep()\n    b = 4"
    )
    assert applied(editor, uri, taken["edit"]) == expected


async def test_a_redo_is_judged_with_the_whole_proposal_in_place(
    start: Start, scripted: Scripted
) -> None:
    rules = [
        {
            "instruction": NAMED,
            "text": "    a = [\n    keep()\n    ]\n    keep()\n    c = 3",
        },
        # Sound where the old text was, and not where the proposal's is.
        {
            "instruction": "be bold",
            "original": "    b = 2",
            "text": "    b = 4",
            "others": ["    , 5]"],
        },
    ]
    scripted.write(rules=rules, rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open("def f():\n" + THREE)
    result = await rewrite(editor, uri, THREE)
    redone = await resolve(editor, result["proposal"], "redo", hunks=[2], instruction="be bold")
    assert of(redone["hunks"])[1] == (2, "    b = 2\n", "    , 5]\n")


async def test_settings_and_a_missing_runtime_stop_a_redo(start: Start, scripted: Scripted) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY)
    scripted.write(rules=[{"crash": True, "instruction": NAMED}], rewrites=REWRITES, spans=1)
    scripted.kill()
    dead = await resolve(editor, result["proposal"], "redo", hunks=[1])
    assert dead["reason"] == "no_runtime"
    assert of(dead["hunks"]) == [FIRST, SECOND]
    editor.client.set_configuration({"dgemma": settings(mode="off")})
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
    await asyncio.sleep(0.2)
    off = await resolve(editor, result["proposal"], "redo", hunks=[1])
    assert off["reason"] == "off"
    assert (await resolve(editor, result["proposal"], "accept", hunks=[1]))["edit"]


# -- pins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("anything", [False, True])
async def test_pinned_lines_stay_whatever_the_model_says(
    start: Start, scripted: Scripted, anything: bool
) -> None:
    rules = [{"instruction": NAMED, "text": "    boo()"}]
    scripted.write(
        rules=rules, rewrites=REWRITES, instructions=anything, spans=16 if anything else 1
    )
    editor = await start()
    uri = editor.open(SOURCE)
    keep = SOURCE.index("    print")
    pinned = [editor.range(uri, keep, keep + 4)]
    result = await rewrite(editor, uri, BODY, pinned=pinned)
    assert editor.replace(uri, result["edit"]) == SOURCE.replace(
        BODY, "    boo()\n    print('keep')  \n    boo()\n"
    )
    assert result["canvases"] == (1 if anything else 2)
    assert [old for _, old, _ in of(result["hunks"])] == [FIRST[1], SECOND[1]]


async def test_pins_outside_count_for_nothing_and_everywhere_for_all(start: Start) -> None:
    editor = await start()
    uri = editor.open(SOURCE)
    outside = {"start": {"line": 5, "character": 0}, "end": {"line": 900, "character": 3}}
    result = await rewrite(editor, uri, BODY, pinned=[outside, editor.range(uri, 0, 0)])
    assert of(result["hunks"]) == [FIRST, SECOND]
    everything = await rewrite(editor, uri, BODY, pinned=[editor.range(uri, 0, len(SOURCE))])
    assert (everything["edit"], everything["reason"]) == (None, "all_pinned")
    assert (everything["proposal"], everything["hunks"]) == (None, [])
    assert "pinned" in everything["message"]


# -- any instruction ----------------------------------------------------------------------------


async def test_a_model_that_takes_any_instruction_gets_it(start: Start, scripted: Scripted) -> None:
    rules = [{"instruction": "make it  nicer, please", "text": NEW}]
    scripted.write(rules=rules, rewrites=REWRITES, instructions=True)
    editor = await start()
    uri = editor.open(SOURCE)
    result = await rewrite(editor, uri, BODY, " make it  nicer,\n please\n")
    assert result["instruction"] == "make it  nicer, please"
    assert of(result["hunks"]) == [FIRST, SECOND]
    for wrong, reason in ((" \n", "not_offered"), ("x" * 3_000, "too_long")):
        refused = await rewrite(editor, uri, BODY, wrong)
        assert (refused["reason"], refused["edit"]) == (reason, None)
        assert refused["message"]


# -- long selections ----------------------------------------------------------------------------


def function(name: str) -> str:
    body = "".join(f"    value_{n} = compute_something({n}, {name!r})\n" for n in range(6))
    return f"def {name}():\n{body}    return value_1\n"


NAMES = ("one", "two", "three")
LONG = "\n\n".join(map(function, NAMES))


def blocks(**others: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "instruction": "tidy up",
            "original": function(name).rstrip("\n"),
            "text": function(name).replace("return value_1", "return value_2"),
            **others.get(name, {}),
        }
        for name in NAMES
    ]


async def test_a_long_selection_goes_through_canvas_after_canvas(
    start: Start, scripted: Scripted
) -> None:
    # The last block is answered only if the text before it is the new one of the others.
    scripted.write(
        rules=blocks(three={"when": "'two')\n    return value_2"}), rewrites=REWRITES, spans=1
    )
    editor = await start()
    uri = editor.open("#\n" + LONG)
    previews: list[dict[str, Any]] = []
    editor.client.feature("dgemma/preview")(lambda params: previews.append(plain(params)))
    result = await rewrite(
        editor, uri, LONG, "tidy up", previewToken=7, previewEveryMs=0, candidates=1
    )
    assert (result["canvases"], result["message"]) == (3, None)
    assert editor.replace(uri, result["edit"]) == "#\n" + LONG.replace(
        "return value_1", "return value_2"
    )
    assert [each["oldText"] for each in result["hunks"]] == ["    return value_1\n"] * 3
    assert [each["canvas"] for each in previews] == [0, 0, 1, 1, 2, 2]
    assert {each["token"] for each in previews} == {7}
    for preview in previews:
        (there,) = preview["ranges"]
        start_, end = (editor.offset(uri, there[side]) for side in ("start", "end"))
        assert editor.texts[uri][start_:end] == function(NAMES[preview["canvas"]]).rstrip("\n")
    assert len(result["timings"]["runtime"]["stepMs"]) == 6


async def test_blocks_that_are_no_better_stay_and_are_told(
    start: Start, scripted: Scripted
) -> None:
    scripted.write(
        rules=blocks(
            one={"text": "def one(:"}, two={"text": function("two")}, three={"when": "value_1"}
        ),
        rewrites=REWRITES,
    )
    editor = await start()
    uri = editor.open(LONG)
    result = await rewrite(editor, uri, LONG, "tidy up")
    assert result["reason"] is None
    assert result["message"] == "1 of 3 blocks was left as it is: adds_syntax_error 1."
    (hunk,) = result["hunks"]
    assert hunk["range"]["start"]["line"] == LONG[: LONG.rindex("return")].count("\n")


async def test_a_runtime_that_dies_half_way_leaves_the_rest(
    start: Start, scripted: Scripted
) -> None:
    scripted.write(rules=blocks(two={"crash": True}), rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open(LONG)
    result = await rewrite(editor, uri, LONG, "tidy up")
    assert result["reason"] is None
    assert result["message"] == "2 of 3 blocks were left as they are: no_runtime 2."
    assert len(result["hunks"]) == 1
    scripted.write(rules=blocks(one={"crash": True}), rewrites=REWRITES, spans=1)
    scripted.kill()
    uri = editor.open(LONG, "b.py")
    result = await rewrite(editor, uri, LONG, "tidy up")
    assert (result["edit"], result["reason"], result["hunks"]) == (None, "no_runtime", [])


async def test_a_block_that_fails_for_itself_is_left_and_the_next_one_goes_on(
    start: Start, scripted: Scripted
) -> None:
    scripted.write(rules=blocks(two={"code": "context_too_long"}), rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open(LONG)
    result = await rewrite(editor, uri, LONG, "tidy up")
    assert result["message"] == "1 of 3 blocks was left as it is: context_too_long 1."
    assert len(result["hunks"]) == 2


async def test_cancelling_inside_a_later_block_ends_it_all(
    start: Start, scripted: Scripted
) -> None:
    scripted.write(rules=blocks(two={"steps": 100, "step_ms": 50}), rewrites=REWRITES, spans=1)
    editor = await start()
    uri = editor.open(LONG)
    at_two = asyncio.Event()

    def on_preview(params: Any) -> None:
        if plain(params)["canvas"] == 1:
            at_two.set()

    editor.client.feature("dgemma/preview")(on_preview)
    asked = asyncio.create_task(
        rewrite(editor, uri, LONG, "tidy up", previewToken="x", previewEveryMs=0)
    )
    await asyncio.wait_for(at_two.wait(), 10)
    newer = await rewrite(editor, uri, function("one"), "tidy up")
    older = await asyncio.wait_for(asked, 3)
    assert (older["edit"], older["reason"]) == (None, "superseded")
    assert len(newer["hunks"]) == 1


async def test_a_line_that_no_canvas_holds_is_left_alone(start: Start, scripted: Scripted) -> None:
    scripted.write(rules=blocks(), rewrites=REWRITES, spans=1)
    editor = await start()
    text = function("one") + "\n\nlong = [" + "1, " * 1_000 + "]\n"
    uri = editor.open(text)
    result = await rewrite(editor, uri, text, "tidy up")
    assert result["message"] == "1 of 2 blocks was left as it is: too_long 1."
    assert len(result["hunks"]) == 1


# -- code actions -------------------------------------------------------------------------------


async def test_an_action_asks_for_confirmation_where_the_client_can(start: Start) -> None:
    editor = await start(confirms=True)
    uri = editor.open(SOURCE)
    await editor.request("dgemma/rewrites", {})
    at = SOURCE.index(BODY)
    here = types.Range(editor.position(uri, at), editor.position(uri, at + len(BODY)))
    found = await editor.client.text_document_code_action_async(
        types.CodeActionParams(types.TextDocumentIdentifier(uri), here, types.CodeActionContext([]))
    )
    assert found is not None
    action = found[0]
    assert isinstance(action, types.CodeAction)
    edit = (await editor.client.code_action_resolve_async(action)).edit
    assert edit is not None
    assert edit.document_changes is not None
    (change,) = edit.document_changes
    assert isinstance(change, types.TextDocumentEdit)
    assert (change.text_document.uri, change.text_document.version) == (uri, 1)
    annotated = [each for each in change.edits if isinstance(each, types.AnnotatedTextEdit)]
    assert (
        [each.new_text for each in annotated]
        == [FIRST[2], SECOND[2]]
        == [each.new_text for each in change.edits if not isinstance(each, types.SnippetTextEdit)]
    )
    (name,) = {each.annotation_id for each in annotated}
    assert edit.change_annotations is not None
    assert edit.change_annotations[name].needs_confirmation
    assert NAMED in edit.change_annotations[name].label


# -- the real model -----------------------------------------------------------------------------

REAL = (
    "def find(items, name):\n    value = items.get(name)\n    count = 0\n"
    "    if value == None:\n        count = 1\n    if name == None:\n        count = 2\n"
    "    return count\n"
)


@pytest.mark.torch
@pytest.mark.model
async def test_the_real_model_keeps_pins_and_redoes_a_hunk(run_dir: Path) -> None:
    instruction = "compare to None with is"
    async for start in starting(run_dir):
        editor = await start({"debounceMs": 0, "deadlineMs": 20_000})
        uri = editor.open(REAL)
        selected = REAL[REAL.index("    if value") : REAL.index("    return")]
        result = await rewrite(editor, uri, selected, instruction, candidates=1)
        assert result["model"].startswith("SmolLM2")
        one = (1, "    if value == None:\n", "    if value is None:\n")
        two = (2, "    if name == None:\n", "    if name is None:\n")
        assert of(result["hunks"]) == [one, two]
        for hunk in result["hunks"]:
            spelled = "".join(hunk["newText"][t["start"] : t["end"]] for t in hunk["tokens"])
            assert spelled.rstrip("\n") == hunk["newText"].rstrip("\n")
        at = REAL.index("    if name")
        pins = [editor.range(uri, at, at), editor.range(uri, at + 30, at + 30)]
        pinned = await rewrite(editor, uri, selected, instruction, pinned=pins, candidates=1)
        assert of(pinned["hunks"]) == [one]
        redone = await resolve(editor, result["proposal"], "redo", hunks=[2])
        assert of(redone["hunks"])[0] == one
        # What it is sure of it says again, and then nothing is new.
        text = of(redone["hunks"])[1][2]
        assert (text == two[2]) is (redone["reason"] == "unchanged")
        taken = await resolve(editor, result["proposal"], "accept")
        after = REAL.replace(one[1], one[2]).replace(two[1], text)
        assert applied(editor, uri, taken["edit"]) == after
        assert count_errors(ParsedText(after, by_id("python").usable_grammar())) == 0
        await editor.request("dgemma/stopRuntime", {})
