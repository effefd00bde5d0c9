"""``initialize``, ``initialized``, and the settings and folders that come with and after them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from dgemma_lsp.session import Session
from dgemma_lsp.settings import SECTION
from dgemma_lsp.syntax.lines import Encoding
from dgemma_wire.errors import SettingsError

log = logging.getLogger(__name__)

# Layers are laid over each other in the order of their names.
_FROM_START = "1 initializationOptions"
_FROM_EDITOR = "2 configuration"


def initialize(session: Session, params: types.InitializeParams) -> None:
    """Take the settings an editor starts the server with."""
    info = params.client_info
    log.info("client: %s %s", info.name if info else "unnamed", (info and info.version) or "")
    session.confirms_edits = _confirms_edits(params.capabilities)
    for uri in _folders(params):
        open_folder(session, uri)
    apply(session, _FROM_START, params.initialization_options)


def _confirms_edits(client: types.ClientCapabilities) -> bool:
    edits = client.workspace and client.workspace.workspace_edit
    return bool(edits and edits.document_changes and edits.change_annotation_support)


def _folders(params: types.InitializeParams) -> list[str]:
    if params.workspace_folders:
        return [folder.uri for folder in params.workspace_folders]
    return [params.root_uri] if params.root_uri else []


def open_folder(session: Session, uri: str) -> None:
    """Take in a workspace folder; one that lies nowhere on this machine is left out."""
    session.schemas.open(uri)
    session.surroundings.open_folder(uri)
    path = to_fs_path(uri)
    if path is not None:
        session.adapters.open(uri, Path(path))


def did_change_folders(session: Session, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """Follow the workspace's folders."""
    for folder in params.event.removed:
        session.adapters.close(folder.uri)
        session.schemas.close(folder.uri)
        session.surroundings.close_folder(folder.uri)
    for folder in params.event.added:
        open_folder(session, folder.uri)


async def initialized(session: Session, server: LanguageServer) -> None:
    """Pull the settings, and ask to be told of changes."""
    chosen = server.server_capabilities.position_encoding or types.PositionEncodingKind.Utf16
    # A member for clients that name none, which ``str`` would give its Python name.
    session.encoding = Encoding(types.PositionEncodingKind(chosen).value)
    workspace = server.client_capabilities.workspace
    changes = workspace and workspace.did_change_configuration
    if changes and changes.dynamic_registration:
        try:
            await server.client_register_capability_async(
                types.RegistrationParams(
                    [
                        types.Registration(
                            id="dgemma-configuration",
                            method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
                            register_options=types.DidChangeConfigurationRegistrationOptions(
                                section=SECTION
                            ),
                        )
                    ]
                )
            )
        except JsonRpcException as err:
            log.info("the client registers no configuration changes: %s", err)
    try:
        await pull(session, server)
    finally:
        session.configured.set()


async def did_change_configuration(
    session: Session, server: LanguageServer, params: types.DidChangeConfigurationParams
) -> None:
    """Take changed settings: pulled where the client can be asked, else as they were sent."""
    if not await pull(session, server):
        sent: Any = params.settings
        if isinstance(sent, dict):
            apply(session, _FROM_EDITOR, cast("dict[str, Any]", sent).get(SECTION))


async def pull(session: Session, server: LanguageServer) -> bool:
    """Ask the client for our section; returns whether it could be asked."""
    workspace = server.client_capabilities.workspace
    if workspace is None or not workspace.configuration:
        return False
    try:
        answers = await server.workspace_configuration_async(
            types.ConfigurationParams([types.ConfigurationItem(section=SECTION)])
        )
    except JsonRpcException as err:
        log.warning("the client did not answer workspace/configuration: %s", err)
        return True
    apply(session, _FROM_EDITOR, answers[0] if answers else None)
    return True


def apply(session: Session, layer: str, values: object) -> None:
    """Put settings into force; bad ones are told once and leave the earlier ones."""
    try:
        session.configure(layer, values)
    except SettingsError as err:
        session.tell_problem(str(err))
