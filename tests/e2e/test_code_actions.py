"""Code actions over stdio for a client that resolves none and takes edits that are sent to it."""

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

from dgemma_lsp.features.protocol import RawResponse

BROKEN = "x = ('🦜', [1, 2)\ny = 3\n"


class Plain(Editor):
    """Takes edits of the server, or refuses them; keeps what came."""

    def __init__(self, client: LanguageClient) -> None:
        super().__init__(client, "utf-16")
        self.edits: asyncio.Queue[types.ApplyWorkspaceEditParams] = asyncio.Queue()
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.applies = True
        # lsprotocol takes every action with a command for a command alone: those are read raw.
        typed = client.protocol.get_result_type
        client.protocol.get_result_type = lambda method: (  # type: ignore[method-assign]
            RawResponse if method == types.TEXT_DOCUMENT_CODE_ACTION else typed(method)
        )
        features = client.protocol.fm.features
        for name in (types.WORKSPACE_APPLY_EDIT, types.WINDOW_SHOW_MESSAGE):
            features.pop(name, None)

        @client.feature(types.WORKSPACE_APPLY_EDIT)
        def _(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            self.edits.put_nowait(params)
            return types.ApplyWorkspaceEditResult(applied=self.applies)

        @client.feature(types.WINDOW_SHOW_MESSAGE)
        def _(params: types.ShowMessageParams) -> None:
            self.told.put_nowait(params.message)

    async def actions(self, uri: str, offset: int) -> list[dict[str, Any]]:
        here = self.position(uri, offset)
        params = types.CodeActionParams(
            types.TextDocumentIdentifier(uri),
            types.Range(here, here),
            types.CodeActionContext(diagnostics=[]),
        )
        return await self.request(types.TEXT_DOCUMENT_CODE_ACTION, params)

    async def run(self, command: str, arguments: Any) -> None:
        await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(command, arguments)
        )


def capabilities(*, resolves: bool) -> types.ClientCapabilities:
    support = types.ClientCodeActionResolveOptions(["edit"]) if resolves else None
    return types.ClientCapabilities(
        text_document=types.TextDocumentClientCapabilities(
            code_action=types.CodeActionClientCapabilities(resolve_support=support)
        ),
        workspace=types.WorkspaceClientCapabilities(
            apply_edit=True,
            configuration=True,
            workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
        ),
    )


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Any]:
    scripted = Scripted(run_dir, rules=[])
    clients: list[LanguageClient] = []

    async def begin(*, resolves: bool = False) -> Plain:
        command = [sys.executable, "-m", "dgemma_lsp", "--log-file", str(run_dir / "lsp.log")]
        client = await ClientServerConfig(server_command=command).start()
        assert isinstance(client, LanguageClient)
        clients.append(client)
        made = Plain(client)
        client.set_configuration({"dgemma": settings()})
        await client.initialize_session(
            types.InitializeParams(capabilities=capabilities(resolves=resolves))
        )
        return made

    yield begin
    for client in clients:
        await client.shutdown_session()
        await client.stop()
    scripted.kill()


async def chosen(editor: Plain, uri: str) -> types.Command:
    (action,) = await editor.actions(uri, BROKEN.index("🦜"))
    assert "edit" not in action
    return types.Command(**action["command"])


async def test_the_command_sends_the_edit(start: Any) -> None:
    editor = await start()
    uri = editor.open(BROKEN)
    command = await chosen(editor, uri)
    await editor.run(command.command, command.arguments)
    sent = await asyncio.wait_for(editor.edits.get(), 20)
    assert sent.label == command.title
    (document,) = sent.edit.document_changes
    assert document.text_document.version == editor.versions[uri]
    (change,) = document.edits
    text = BROKEN.splitlines()[0]
    start_of, end_of = (
        editor.offset(uri, {"line": at.line, "character": at.character})
        for at in (change.range.start, change.range.end)
    )
    assert text[:start_of] + change.new_text + text[end_of:] == text.replace("2)", "2])")


async def test_a_document_that_has_changed_since_is_left_alone(start: Any) -> None:
    editor = await start()
    uri = editor.open(BROKEN)
    command = await chosen(editor, uri)
    editor.insert(uri, 0, "#\n")
    await editor.run(command.command, command.arguments)
    assert "changed since" in await asyncio.wait_for(editor.told.get(), 20)
    assert editor.edits.empty()


async def test_no_command_where_the_client_resolves(start: Any) -> None:
    editor = await start(resolves=True)
    (action,) = await editor.actions(editor.open(BROKEN), BROKEN.index("🦜"))
    assert "command" not in action
    resolved = await editor.client.code_action_resolve_async(
        types.CodeAction(action["title"], data=action["data"])
    )
    assert resolved.edit is not None


@pytest.mark.parametrize("arguments", [None, [], ["x"], [1, 2], ["x", None], ["x", {"mend": 1}]])
async def test_arguments_that_are_none_of_ours(start: Any, arguments: Any) -> None:
    editor = await start()
    await editor.run("dgemma.act", arguments)
    assert "not one of dgemma's" in await asyncio.wait_for(editor.told.get(), 20)
