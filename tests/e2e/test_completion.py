"""``textDocument/completion`` over stdio: when it is there, and what its items are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient
from support.editors import Editor
from support.lsp import settings
from support.runtimes import Scripted

SOURCE = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"
AT = SOURCE.index("return ") + len("return ")
RULES = [
    {"when": "# wide", "text": "'总 ```'"},
    {"when": "# block", "text": "\n    x = 1\n    return x"},
    {"when": "return ad", "text": "d(a, b)"},
    {"when": "def add", "text": "a + b", "others": ["b + a"]},
]


def on(**more: Any) -> dict[str, Any]:
    """Settings under which a busy machine has its time to start a runtime."""
    return settings(deadlineMs=60_000, **more)


@pytest_asyncio.fixture
async def menu(run_dir: Path) -> AsyncIterator[Any]:
    scripted = Scripted(run_dir, rules=RULES)
    clients: list[LanguageClient] = []

    async def begin(*, dynamic: bool, options: Any = None, config: Any = None) -> Menu:
        command = [sys.executable, "-m", "dgemma_lsp", "--log-file", str(run_dir / "lsp.log")]
        client = await ClientServerConfig(server_command=command).start()
        assert isinstance(client, LanguageClient)
        clients.append(client)
        made = Menu(client)
        made.set(config or on())
        capabilities = types.ClientCapabilities(
            text_document=types.TextDocumentClientCapabilities(
                completion=types.CompletionClientCapabilities(
                    dynamic_registration=dynamic,
                    completion_item=types.ClientCompletionItemOptions(
                        documentation_format=[types.MarkupKind.Markdown] if dynamic else None,
                        insert_text_mode_support=types.ClientCompletionItemInsertTextModeOptions(
                            [types.InsertTextMode.AsIs]
                        ),
                    ),
                )
            ),
            workspace=types.WorkspaceClientCapabilities(configuration=True),
        )
        made.started = await client.initialize_session(
            types.InitializeParams(capabilities=capabilities, initialization_options=options)
        )
        await asyncio.sleep(0.2)
        return made

    yield begin
    for client in clients:
        await client.shutdown_session()
        await client.stop()
    scripted.kill()


class Menu(Editor):
    """An editor with a completion menu; keeps what is registered with it."""

    started: types.InitializeResult

    def __init__(self, client: LanguageClient) -> None:
        super().__init__(client, "utf-16")
        self.registered: dict[str, Any] = {}
        features = client.protocol.fm.features
        features.pop(types.CLIENT_REGISTER_CAPABILITY, None)
        features.pop(types.CLIENT_UNREGISTER_CAPABILITY, None)

        @client.feature(types.CLIENT_REGISTER_CAPABILITY)
        def _(params: types.RegistrationParams) -> None:
            self.registered |= {each.method: each for each in params.registrations}

        @client.feature(types.CLIENT_UNREGISTER_CAPABILITY)
        def _(params: types.UnregistrationParams) -> None:
            for each in params.unregisterations:
                assert self.registered.pop(each.method).id == each.id

    def set(self, config: dict[str, Any]) -> None:
        self.client.set_configuration({"dgemma": config})

    async def change(self, config: dict[str, Any]) -> None:
        self.set(config)
        self.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
        await asyncio.sleep(0.3)

    async def ask(self, uri: str, offset: int) -> types.CompletionList:
        answer = await asyncio.wait_for(
            self.client.text_document_completion_async(
                types.CompletionParams(
                    types.TextDocumentIdentifier(uri), self.position(uri, offset)
                )
            ),
            20,
        )
        assert isinstance(answer, types.CompletionList)
        return answer

    def taken(self, uri: str, item: types.CompletionItem) -> str:
        """The document after an item of the menu was taken."""
        assert isinstance(item.text_edit, types.TextEdit)
        start, end = (
            self.offset(uri, {"line": at.line, "character": at.character})
            for at in (item.text_edit.range.start, item.text_edit.range.end)
        )
        text = self.texts[uri]
        return text[:start] + item.text_edit.new_text + text[end:]


async def test_it_is_off_by_default(menu: Any) -> None:
    for dynamic in (True, False):
        editor = await menu(dynamic=dynamic)
        assert editor.started.capabilities.completion_provider is None
        assert types.TEXT_DOCUMENT_COMPLETION not in editor.registered


async def test_registered_while_it_is_on(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    assert editor.started.capabilities.completion_provider is None
    assert types.TEXT_DOCUMENT_COMPLETION in editor.registered
    uri = editor.open(SOURCE)
    assert (await editor.ask(uri, AT)).items
    await editor.change(settings(completion=False))
    assert types.TEXT_DOCUMENT_COMPLETION not in editor.registered
    assert (await editor.ask(uri, AT)).items == ()
    await editor.change(on(completion=True))
    assert types.TEXT_DOCUMENT_COMPLETION in editor.registered
    assert (await editor.ask(uri, AT)).items


async def test_announced_by_the_options_of_the_start(menu: Any) -> None:
    editor = await menu(dynamic=False, options=on(completion=True))
    provider = editor.started.capabilities.completion_provider
    assert provider is not None
    assert "." in (provider.trigger_characters or ())
    assert editor.registered == {}
    (item,) = (await editor.ask(editor.open(SOURCE), AT)).items
    assert item.label == "a + b"
    assert item.documentation == "a + b"  # this client shows no Markdown


async def test_an_item(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    uri = editor.open(SOURCE)
    found = await editor.ask(uri, AT)
    assert found.is_incomplete
    (item,) = found.items
    assert (item.label, item.detail, item.sort_text) == ("a + b", "dgemma", "0000")
    assert item.insert_text_format is types.InsertTextFormat.PlainText
    assert item.documentation == types.MarkupContent(
        types.MarkupKind.Markdown, "```python\na + b\n```"
    )
    assert editor.taken(uri, item) == SOURCE.replace("return ", "return a + b")
    # The menu and the inline text share their answers, and their numbers.
    (inline,) = await editor.complete(uri, AT, invoked=False)
    assert inline.command == item.command
    editor.insert(uri, AT, "a ")
    (rest,) = (await editor.ask(uri, AT + 2)).items
    assert editor.taken(uri, rest) == SOURCE.replace("return ", "return a + b")


async def test_a_word_that_is_begun(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    source = SOURCE.replace("return ", "return '🦜', ad").replace("'🦜', ", "")
    uri = editor.open(source)
    (item,) = (await editor.ask(uri, source.index("ad\n") + 2)).items
    assert (item.label, item.filter_text) == ("add(a, b)", "add(a, b)")
    assert editor.taken(uri, item) == SOURCE.replace("return ", "return add(a, b)")


async def test_an_item_of_several_lines(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    source = "# block\ndef f():\n"
    uri = editor.open(source)
    (item,) = (await editor.ask(uri, len(source) - 1)).items
    assert item.label == "x = 1"
    assert editor.taken(uri, item) == "# block\ndef f():\n    x = 1\n    return x\n"


async def test_fences_and_wide_text(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    source = "# wide 漢🦜\r\nx = '🦜' + \r\n"
    uri = editor.open(source)
    (item,) = (await editor.ask(uri, source.index("+ ") + 2)).items
    assert "````" in item.documentation.value
    assert editor.taken(uri, item) == source.replace("+ ", "+ '总 ```'")


async def test_what_may_not_be_asked(menu: Any) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    assert (await editor.ask(editor.open(SOURCE, ".env"), AT)).items == ()
    await editor.change(on(completion=True, mode="manual"))
    assert (await editor.ask(editor.open(SOURCE, "b.py"), AT)).items == ()


@pytest.mark.parametrize("text", ["", "\n", "🦜"])
async def test_odd_documents(menu: Any, text: str) -> None:
    editor = await menu(dynamic=True, config=on(completion=True))
    assert (await editor.ask(editor.open(text), len(text))).items == ()
