"""Code actions for clients that do not ask for the edit of the one that was chosen.

Such a client runs an action's command instead, and is then sent the edit. The command is answered
at once: clients wait for its answer only seconds, and a model may take longer.
"""

from __future__ import annotations

from typing import Any

import attrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from dgemma_lsp import methods
from dgemma_lsp.features import mend, rewrite
from dgemma_lsp.session import Session


def code_actions(
    session: Session, params: types.CodeActionParams, client: types.ClientCapabilities
) -> list[types.CodeAction]:
    """List what can be done at a range, without asking any model."""
    found = mend.code_actions(session, params) + rewrite.code_actions(session, params)
    return [_with_command(each) for each in found] if wants_commands(client) else found


def wants_commands(client: types.ClientCapabilities) -> bool:
    """Whether a client resolves no edits of code actions, but takes edits that are sent to it."""
    actions = client.text_document and client.text_document.code_action
    resolved = actions and actions.resolve_support
    if resolved and "edit" in resolved.properties:
        return False
    return bool(client.workspace and client.workspace.apply_edit)


def _with_command(action: types.CodeAction) -> types.CodeAction:
    arguments = [action.title, action.data]
    command = types.Command(title=action.title, command=methods.ACT, arguments=arguments)
    return attrs.evolve(action, command=command)


async def resolve(session: Session, action: types.CodeAction) -> str | None:
    """Give a chosen action its edit; returns why there is none, in words."""
    feature = mend if mend.is_mend(action.data) else rewrite
    return await feature.resolve(session, action, action.data)


async def act(session: Session, server: LanguageServer, title: str, data: Any) -> str | None:
    """Make the edit of an action that was run as a command; returns why there is none."""
    action = types.CodeAction(title, data=data)
    why = await resolve(session, action)
    if action.edit is not None:
        try:
            await server.workspace_apply_edit_async(
                types.ApplyWorkspaceEditParams(action.edit, label=title)
            )
        except JsonRpcException:
            return "The editor refused the edit; nothing was changed."
    return why
