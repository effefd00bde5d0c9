"""``dgemma-lsp`` that writes when each completion was asked for and answered: for keystroke.py.

Appends a line of JSON to the file of ``DGEMMA_TIMES`` for every answer. Points in time are seconds
of the machine's monotonic clock, which is that of all its processes; the phases are milliseconds.
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from dgemma_lsp import pipeline
from dgemma_lsp.cli.lsp import main
from dgemma_lsp.features import inline_completion

TIMES = "DGEMMA_TIMES"
_request: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("request")
_fill, _complete = pipeline.fill, inline_completion.inline_completion


async def fill(*arguments: Any, **more: Any) -> pipeline.Outcome:
    """Do what ``pipeline.fill`` does, and note its times for the request it is part of."""
    request = _request.get({})
    request["filling"] = time.monotonic()
    outcome = await _fill(*arguments, **more)
    times = outcome.times
    if times.runtime is not None:
        phases = dataclasses.asdict(dataclasses.replace(times, runtime=None))
        request["phases"] = {name: value for name, value in phases.items() if value is not None}
        request["runtime_ms"] = times.runtime.total_ms
    return outcome


async def complete(session: Any, params: Any) -> Any:
    """Answer one request, and write down when."""
    request: dict[str, Any] = {"began": time.monotonic()}
    _request.set(request)  # the tasks of this request have it too
    answer = await _complete(session, params)
    line = {**request, "ended": time.monotonic(), "items": len(answer.items)}
    _write(json.dumps(line))
    return answer


def _write(line: str) -> None:
    with Path(os.environ[TIMES]).open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    pipeline.fill = fill
    inline_completion.inline_completion = complete
    raise SystemExit(main())
