"""``dgemma/status`` and the commands: what goes on, accepted candidates, stopping the runtime."""

from __future__ import annotations

from dgemma_lsp import methods
from dgemma_lsp.session import Session
from dgemma_wire.errors import DgemmaError


async def status(session: Session) -> methods.StatusResult:
    """Return what the server knows, and what a running runtime says; starts none."""
    told, problem = None, session.problem
    try:
        told = await session.client().status()
    except DgemmaError as err:
        problem = str(err)
    tally = session.tally
    return methods.StatusResult(
        release=session.release,
        mode=session.settings.mode,
        connected=session.connected,
        runtime=told,
        problem=problem,
        declined=dict(tally.declined),
        rejected=dict(tally.rejected),
        silent=dict(tally.silent),
        shown=tally.shown,
        accepted=tally.accepted,
        last_total_ms=tally.last_total_ms,
    )


async def stop_runtime(session: Session) -> bool:
    """End the runtime; returns whether one ran. The next request starts another.

    Raises:
        DgemmaError: It runs but cannot be talked to.
    """
    session.problem = None
    return await session.client().stop_runtime()
