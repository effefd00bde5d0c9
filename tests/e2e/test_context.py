"""Text from outside a document on its way to the runtime: the real server, a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.lsp import Start, settings, starting
from support.runtimes import Scripted

RULES = [
    {"context": "def load_user(path: str) -> User:", "when": "load_user(", "text": "imported"},
    {"context": "+renamed = 1", "when": "x = ", "text": "edited"},
    {"context": "hidden", "text": "leaked"},
    {"when": "", "text": "alone"},
]
MAIN = "from app.models import load_user\n\nuser = load_user()\n"
AT = MAIN.index("load_user(") + len("load_user(")


@pytest_asyncio.fixture
async def start(run_dir: Path) -> AsyncIterator[Start]:
    scripted = Scripted(run_dir, rules=RULES, context_tokens=200)
    async for one in starting(run_dir):
        yield one
    scripted.kill()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "models.py").write_text(
        'def load_user(path: str) -> User:\n    """Load a user."""\n    return User(path)\n'
    )
    return tmp_path


async def test_the_definition_of_an_imported_function_arrives(
    start: Start, workspace: Path
) -> None:
    editor = await start(None, roots=(workspace,))
    uri = editor.open(MAIN, (workspace / "main.py").as_uri())
    (item, *_) = await editor.complete(uri, AT)
    assert item.insert_text == "imported"
    result = await editor.request(
        "dgemma/fill",
        {
            "textDocument": {"uri": uri},
            "position": {"line": 2, "character": len("user = load_user(")},
        },
    )
    assert result["text"] == "imported"


async def test_somebody_who_types_is_shown_it_too(start: Start, workspace: Path) -> None:
    editor = await start(None, roots=(workspace,))
    uri = editor.open(MAIN, (workspace / "main.py").as_uri())
    await editor.complete(uri, AT)
    editor.insert(uri, AT, "a")
    (item,) = await editor.complete(uri, AT + 1, invoked=False)
    assert item.insert_text == "imported"


async def test_files_are_not_read_unless_the_settings_allow_it(
    start: Start, workspace: Path
) -> None:
    for mode in ("off", "open"):
        editor = await start(settings(context=mode), roots=(workspace,))
        uri = editor.open(MAIN, (workspace / "main.py").as_uri())
        (item, *_) = await editor.complete(uri, AT)
        assert item.insert_text == "alone"


async def test_recent_edits_arrive(start: Start, workspace: Path) -> None:
    editor = await start(None, roots=(workspace,))
    other = editor.open("named = 1\n", (workspace / "other.py").as_uri())
    editor.insert(other, 0, "re")
    uri = editor.open("x = \n", (workspace / "main.py").as_uri())
    (item, *_) = await editor.complete(uri, 4)
    assert item.insert_text == "edited"


async def test_ignored_files_never_arrive(start: Start, workspace: Path) -> None:
    (workspace / "secrets").mkdir()
    (workspace / "secrets" / "keys.py").write_text("KEY = 'hidden'\n")
    editor = await start(None, roots=(workspace,))
    secret = editor.open("TOKEN = 'hidden'\n", (workspace / "secrets" / "open.py").as_uri())
    editor.insert(secret, 0, "OTHER = 'hidden'\n")
    text = "from secrets.keys import KEY\nfrom secrets.open import TOKEN\nprint(KEY, TOKEN, )\n"
    uri = editor.open(text, (workspace / "main.py").as_uri())
    (item, *_) = await editor.complete(uri, text.index(")"))
    assert item.insert_text == "alone"
