"""The errors both processes share.

    DgemmaError                    every error of ours; its text is fit to be shown to a person
    ├── SettingsError              a setting is wrong; names its path and the reason
    ├── RuntimeUnavailable         the language server goes on without a runtime
    │   ├── RuntimeNotInstalled    no way to start one was found; names the remedy
    │   ├── RuntimeStartFailed     it exited or stayed silent; holds the tail of its stderr
    │   └── ProtocolMismatch       both sides' versions are in the text
    ├── DenoiseFailed(code)        the runtime answered ``Failed``; see ``FailureCode``
    ├── AddressError               the runtime's directory or socket cannot be used safely
    ├── ModelError                 weights are missing, corrupt, or do not fit the program
    └── ProtocolError
        ├── LocalProtocolError     this side broke the rules: our bug
        └── RemoteProtocolError    the other side did: the connection is closed

Not errors but values: ``Declined`` (no request made) and ``Rejected`` (a candidate dropped); see
``dgemma_lsp.infill.types``. Cancellation is only ever ``asyncio.CancelledError``.
"""

from __future__ import annotations

from enum import StrEnum


class FailureCode(StrEnum):
    """Why the runtime did not finish a request."""

    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DEADLINE = "deadline"
    BAD_REQUEST = "bad_request"
    CONTEXT_TOO_LONG = "context_too_long"
    MODEL_UNAVAILABLE = "model_unavailable"
    ADAPTER_UNAVAILABLE = "adapter_unavailable"
    DRAFT_GONE = "draft_gone"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_FAULT = "engine_fault"
    SHUTTING_DOWN = "shutting_down"


class DgemmaError(Exception):
    """Root of every error raised by this project."""


class SettingsError(DgemmaError):
    """A setting is unknown or has a wrong value."""


class RuntimeUnavailable(DgemmaError):
    """No runtime answers, and the server can go on without one."""


class RuntimeNotInstalled(RuntimeUnavailable):
    """No command to start a runtime was found."""


class RuntimeStartFailed(RuntimeUnavailable):
    """The runtime was started and exited or stayed silent."""


class ProtocolMismatch(RuntimeUnavailable):
    """The running runtime speaks another version of the protocol."""


class DenoiseFailed(DgemmaError):
    """The runtime answered a request with ``Failed``."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class AddressError(DgemmaError):
    """The directory or socket of the runtime cannot be used safely."""


class ModelError(DgemmaError):
    """Model files are missing, corrupt, or of another kind than expected."""


class ProtocolError(DgemmaError):
    """A frame or message broke the rules of the wire."""


class LocalProtocolError(ProtocolError):
    """This side tried to send what the rules forbid."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the rules forbid."""
