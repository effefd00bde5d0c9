"""A scripted runtime that listens as one on another machine does, for clients that only know its
address and its token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.runtimes import COMMAND

from dgemma_wire import endpoint

TOKEN = "the-token-of-a-test-0123456789-abcdef"


class Afar:
    """One listening runtime in a folder of its own.

    Attributes:
        folder: What would be the other machine's: its runtime directory and script.
        token_file: This machine's copy of the token.
    """

    def __init__(self, folder: Path, here: Path, listen: str = "127.0.0.1:0", **script: Any):
        self.folder = folder
        self.script = folder / "script.json"
        self.script.write_text(json.dumps(script))
        self.listen = listen
        self.process: subprocess.Popen[bytes] | None = None
        self.token_file = here / "token"
        self.write_token(TOKEN)

    def write_token(self, token: str) -> None:
        self.token_file.write_text(token + "\n")
        self.token_file.chmod(0o600)

    async def up(self) -> endpoint.Endpoint:
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it outlives this coroutine
            [*COMMAND, "--model", "scripted", "--listen", self.listen, "--idle-exit-s", "60"],
            env={
                **os.environ,
                "DGEMMA_RUNTIME_DIR": str(self.folder),
                "DGEMMA_TEST_SCRIPT": str(self.script),
                "DGEMMA_TOKEN": TOKEN,
            },
            stderr=sys.stderr,
        )
        until = time.monotonic() + 20
        while (found := self.endpoint) is None or found.pid != self.process.pid:
            assert self.process.poll() is None, "the runtime has ended"
            assert time.monotonic() < until, "the runtime does not listen"
            await asyncio.sleep(0.02)
        return found

    @property
    def endpoint(self) -> endpoint.Endpoint | None:
        return endpoint.read_endpoint(endpoint.endpoint_path(self.folder, "scripted"))

    @property
    def target(self) -> tuple[str, int] | Path:
        found = self.endpoint
        assert found is not None
        if found.path is not None:
            return Path(found.path)
        return str(found.host), int(found.port or 0)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextlib.asynccontextmanager
async def running_afar(folder: Path, here: Path, **more: Any) -> AsyncIterator[Afar]:
    """A listening runtime for the length of a test."""
    one = Afar(folder, here, **more)
    try:
        await one.up()
        yield one
    finally:
        one.kill()
