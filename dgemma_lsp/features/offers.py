"""What clients tell of the completions they were offered, and what they may ask about them."""

from __future__ import annotations

from typing import Any

from dgemma_lsp import methods
from dgemma_lsp.session import Session


def accepted(session: Session, arguments: tuple[Any, ...]) -> None:
    """Count an accepted completion; the command's argument is the offer's number."""
    session.tally.accepted += 1
    number = arguments[0] if arguments else None
    if isinstance(number, int | float):  # a client of Lua may send 1.0
        session.recorder.accepted(int(number))


def did_show(session: Session, params: methods.OfferParams) -> None:
    """A completion is on the screen."""
    session.recorder.did_show(params.id)


def did_partially_accept(session: Session, params: methods.PartlyAcceptedParams) -> None:
    """The beginning of a completion was taken."""
    session.recorder.partly_accepted(params.id, params.length)


def did_reject(session: Session, params: methods.RejectedParams) -> None:
    """A completion was dismissed, or something else typed."""
    session.recorder.rejected(params.id)


def confidence(session: Session, params: methods.OfferParams) -> methods.ConfidenceResult:
    """Return how sure the model was of a completion."""
    offer = session.recorder.offers.get(params.id)
    if offer is None:
        return methods.ConfidenceResult(text="", tokens=())
    tokens = (
        methods.TokenResult(start=token.start, end=token.end, probability=token.probability)
        for token in offer.tokens
    )
    return methods.ConfidenceResult(text=offer.text, tokens=tuple(tokens))


def statistics(session: Session) -> methods.StatisticsResult:
    """Return what was counted on this machine."""
    return session.recorder.statistics()


def erase_statistics(session: Session) -> methods.StatisticsResult:
    """Forget what was counted; returns what is left."""
    try:
        session.recorder.erase()
    except OSError as err:
        session.tell_problem(f"The statistics cannot be erased: {err.strerror or err}.")
    return session.recorder.statistics()
