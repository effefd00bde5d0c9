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
        mended=dict(tally.mended),
        shown=tally.shown,
        accepted=tally.accepted,
        last_total_ms=tally.last_total_ms,
        adapter=session.adapters.used,
        adapter_problem=session.adapters.problem,
        rewrites=session.offers,
    )


async def stop_runtime(session: Session) -> methods.StopResult:
    """End the runtime; the next request starts another."""
    session.problem = None
    if session.settings.runtime_address:
        return methods.StopResult(
            stopped=False,
            message=f"The runtime at {session.settings.runtime_address} is another machine's: "
            "nothing here could start it again. End it there, or with `dgemma stop "
            "--runtime-address`.",
        )
    try:
        return methods.StopResult(stopped=await session.client().stop_runtime())
    except DgemmaError as err:
        return methods.StopResult(stopped=False, message=str(err))
