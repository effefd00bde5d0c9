"""When a remote runtime counts as gone: it owes an answer, and nothing comes any more.

A runtime answers a ``GetStatus`` at any time, also while it denoises; a forward whose line is dead
lets requests wait for ever. Knows times and three callbacks, no sockets and no messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PROBE_S = 5.0
"""A runtime that owes an answer and has been silent this long is asked for a sign of life."""
SILENT_S = 20.0
"""After this long without one it counts as gone."""


async def watch(
    owes: Callable[[], bool], heard: Callable[[], float], probe: Callable[[], None]
) -> float:
    """Return once the other side has been silent for too long.

    Args:
        owes: Whether an answer is waited for now.
        heard: When bytes came last, by the loop's clock.
        probe: Asks for a sign of life; called once per silence.

    Returns:
        Seconds of silence.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    probed = False
    while True:
        await asyncio.sleep(PROBE_S / 4)
        if not owes():
            began, probed = loop.time(), False
            continue
        silent = loop.time() - max(began, heard())
        if silent > SILENT_S:
            return silent
        if silent < PROBE_S:
            probed = False
        elif not probed:
            probed = True
            probe()
