"""An editor for end-to-end tests: pytest-lsp's client over stdio, and a document to type into."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

ENCODINGS = {
    "utf-8": types.PositionEncodingKind.Utf8,
    "utf-16": types.PositionEncodingKind.Utf16,
    "utf-32": types.PositionEncodingKind.Utf32,
}


def units(text: str, encoding: str) -> int:
    """Return the length of a text as LSP counts it."""
    if encoding == "utf-8":
        return len(text.encode())
    return len(text.encode("utf-16-le")) // 2 if encoding == "utf-16" else len(text)


class Editor:
    """One editor window with its own language server."""

    def __init__(self, client: LanguageClient, encoding: str) -> None:
        self.client = client
        self.encoding = encoding
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}

    @classmethod
    async def start(
        cls,
        settings: dict[str, Any],
        encoding: str = "utf-16",
        options: Any = None,
        log: Path | None = None,
        roots: tuple[Path, ...] = (),
        confirms: bool = False,
        **window: bool,
    ) -> Editor:
        command = [sys.executable, "-m", "dgemma_lsp"]
        if log is not None:
            command += ["--log-file", str(log), "--log-level", os.environ.get("DGEMMA_LOG", "info")]
        config = ClientServerConfig(server_command=command)
        client = await config.start()
        assert isinstance(client, LanguageClient)
        client.set_configuration({"dgemma": settings})
        editor = cls(client, encoding)
        result = await client.initialize_session(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(
                    general=types.GeneralClientCapabilities(
                        position_encodings=[ENCODINGS[encoding]]
                    ),
                    text_document=types.TextDocumentClientCapabilities(
                        inline_completion=types.InlineCompletionClientCapabilities()
                    ),
                    window=types.WindowClientCapabilities(**window),
                    workspace=types.WorkspaceClientCapabilities(
                        configuration=True,
                        workspace_edit=types.WorkspaceEditClientCapabilities(
                            document_changes=True,
                            change_annotation_support=types.ChangeAnnotationsSupportOptions()
                            if confirms
                            else None,
                        ),
                    ),
                ),
                initialization_options=options,
                workspace_folders=[
                    types.WorkspaceFolder(path.as_uri(), path.name) for path in roots
                ],
            )
        )
        assert result.capabilities.inline_completion_provider
        assert result.capabilities.position_encoding == encoding
        return editor

    async def stop(self) -> None:
        await self.client.shutdown_session()
        await self.client.stop()

    def open(self, text: str, name: str = "a.py", language: str = "python") -> str:
        uri = name if "://" in name else f"file:///work-of-a-test/{name}"
        self.texts[uri], self.versions[uri] = text, 1
        self.client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, language, 1, text))
        )
        return uri

    def position(self, uri: str, offset: int) -> types.Position:
        before = self.texts[uri][:offset].replace("\r\n", "\n")
        line = before.count("\n")
        return types.Position(line, units(before.rsplit("\n", 1)[-1], self.encoding))

    def insert(self, uri: str, offset: int, text: str) -> None:
        """Type a text at an offset."""
        here = self.position(uri, offset)
        self.texts[uri] = self.texts[uri][:offset] + text + self.texts[uri][offset:]
        self.versions[uri] += 1
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.versions[uri], uri),
                [types.TextDocumentContentChangePartial(types.Range(here, here), text)],
            )
        )

    async def complete(
        self, uri: str, offset: int, *, invoked: bool = True, selected: bool = False
    ) -> list[types.InlineCompletionItem]:
        kind = types.InlineCompletionTriggerKind
        here = self.position(uri, offset)
        info = types.SelectedCompletionInfo(types.Range(here, here), "x") if selected else None
        answer = await self.client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(
                    kind.Invoked if invoked else kind.Automatic, info
                ),
                text_document=types.TextDocumentIdentifier(uri),
                position=here,
            )
        )
        assert isinstance(answer, types.InlineCompletionList)
        return list(answer.items)

    def apply(self, uri: str, item: types.InlineCompletionItem) -> str:
        """Return the document as it is after an item was accepted."""
        assert isinstance(item.insert_text, str)
        assert item.range is not None
        assert item.range.start == item.range.end
        lines = self.texts[uri].split("\n")
        line = lines[item.range.start.line]
        for at in range(len(line) + 1):
            if units(line[:at], self.encoding) == item.range.start.character:
                lines[item.range.start.line] = line[:at] + item.insert_text + line[at:]
                return "\n".join(lines)
        raise AssertionError("the range starts inside a character")

    def range(self, uri: str, start: int, end: int) -> dict[str, Any]:
        """Return a range of offsets as it travels."""
        low, high = self.position(uri, start), self.position(uri, end)
        return {
            "start": {"line": low.line, "character": low.character},
            "end": {"line": high.line, "character": high.character},
        }

    def replace(self, uri: str, edit: dict[str, Any]) -> str:
        """Return the document as it is after a versioned edit, which must be for its version."""
        (document,) = edit["documentChanges"]
        assert document["textDocument"] == {"uri": uri, "version": self.versions[uri]}
        (change,) = document["edits"]
        text = self.texts[uri]
        start, end = (self.offset(uri, change["range"][side]) for side in ("start", "end"))
        return text[:start] + change["newText"] + text[end:]

    def offset(self, uri: str, position: dict[str, int]) -> int:
        """Return the offset of a position, which must stand between characters."""
        lines = self.texts[uri].split("\n")
        start = sum(len(line) + 1 for line in lines[: position["line"]])
        for at in range(len(lines[position["line"]]) + 1):
            if units(lines[position["line"]][:at], self.encoding) == position["character"]:
                return start + at
        raise AssertionError("the position is inside a character")

    async def request(self, method: str, params: Any) -> Any:
        return plain(await self.client.protocol.send_request_async(method, params))


def plain(value: Any) -> Any:
    """Return pygls's named tuples as the dicts they came from."""
    if hasattr(value, "_asdict"):
        return {name: plain(member) for name, member in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return value
