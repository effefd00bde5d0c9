"""Starting scripted runtimes from tests, and making sure none outlives its test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from dgemma_lsp.runtime_client.client import RuntimeClient
from dgemma_wire import endpoint
from dgemma_wire.messages import Clamped, Denoise, Free, Status
from dgemma_wire.settings import RuntimeSettings

PROGRAM = Path(__file__).parent / "scripted.py"
COMMAND = (sys.executable, str(PROGRAM))


class Scripted:
    """A folder with a script, and clients of the runtime that plays it."""

    def __init__(self, directory: Path, **script: Any) -> None:
        self.directory = directory
        self.file = directory / "script.json"
        self.clients: list[RuntimeClient] = []
        self.statuses: list[Status] = []
        os.environ["DGEMMA_TEST_SCRIPT"] = str(self.file)
        self.write(**script)

    def write(self, **script: Any) -> None:
        self.file.write_text(json.dumps(script))

    def client(self, command: tuple[str, ...] = COMMAND, **settings: Any) -> RuntimeClient:
        client = RuntimeClient(
            RuntimeSettings(model="scripted", **settings),
            command,
            self.directory,
            release="test",
            name="a test",
            on_status=self.statuses.append,
        )
        self.clients.append(client)
        return client

    @property
    def endpoint(self) -> endpoint.Endpoint | None:
        return endpoint.read_endpoint(endpoint.endpoint_path(self.directory, "scripted"))

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        self.kill()

    def kill(self) -> None:
        one = self.endpoint
        if one is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)


def ask(prefix: str = "", document: str = "d", **more: Any) -> Denoise:
    return Denoise(
        document=document, prefix=prefix, segments=(Free(max_lines=1), Clamped(text=")")), **more
    )
