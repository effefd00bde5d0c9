"""The methods beyond LSP, all under ``dgemma/``: their names, parameters and results.

docs/protocol.md is generated from here. Positions are LSP's, in the negotiated encoding.
"""

from __future__ import annotations

from dgemma_lsp.methods.fills import (
    ExtendedParams as ExtendedParams,
)
from dgemma_lsp.methods.fills import (
    FilledHole as FilledHole,
)
from dgemma_lsp.methods.fills import (
    FillHolesParams as FillHolesParams,
)
from dgemma_lsp.methods.fills import (
    FillHolesResult as FillHolesResult,
)
from dgemma_lsp.methods.fills import (
    FillParams as FillParams,
)
from dgemma_lsp.methods.fills import (
    FillResult as FillResult,
)
from dgemma_lsp.methods.fills import (
    HolesParams as HolesParams,
)
from dgemma_lsp.methods.fills import (
    HolesResult as HolesResult,
)
from dgemma_lsp.methods.fills import (
    MarkedHole as MarkedHole,
)
from dgemma_lsp.methods.fills import (
    MendParams as MendParams,
)
from dgemma_lsp.methods.fills import (
    MendResult as MendResult,
)
from dgemma_lsp.methods.offers import (
    ConfidenceResult as ConfidenceResult,
)
from dgemma_lsp.methods.offers import (
    Counts as Counts,
)
from dgemma_lsp.methods.offers import (
    OfferParams as OfferParams,
)
from dgemma_lsp.methods.offers import (
    PartlyAcceptedParams as PartlyAcceptedParams,
)
from dgemma_lsp.methods.offers import (
    RejectedParams as RejectedParams,
)
from dgemma_lsp.methods.offers import (
    StatisticsResult as StatisticsResult,
)
from dgemma_lsp.methods.rewrites import (
    HunkResult as HunkResult,
)
from dgemma_lsp.methods.rewrites import (
    ResolveParams as ResolveParams,
)
from dgemma_lsp.methods.rewrites import (
    ResolveResult as ResolveResult,
)
from dgemma_lsp.methods.rewrites import (
    RewriteParams as RewriteParams,
)
from dgemma_lsp.methods.rewrites import (
    RewriteResult as RewriteResult,
)
from dgemma_lsp.methods.rewrites import (
    RewritesParams as RewritesParams,
)
from dgemma_lsp.methods.rewrites import (
    RewritesResult as RewritesResult,
)
from dgemma_lsp.methods.shapes import (
    CandidateResult as CandidateResult,
)
from dgemma_lsp.methods.shapes import (
    DocumentEdit as DocumentEdit,
)
from dgemma_lsp.methods.shapes import (
    DocumentId as DocumentId,
)
from dgemma_lsp.methods.shapes import (
    FaultResult as FaultResult,
)
from dgemma_lsp.methods.shapes import (
    Phases as Phases,
)
from dgemma_lsp.methods.shapes import (
    Position as Position,
)
from dgemma_lsp.methods.shapes import (
    PreviewParams as PreviewParams,
)
from dgemma_lsp.methods.shapes import (
    Range as Range,
)
from dgemma_lsp.methods.shapes import (
    TextEdit as TextEdit,
)
from dgemma_lsp.methods.shapes import (
    TokenResult as TokenResult,
)
from dgemma_lsp.methods.shapes import (
    VerdictResult as VerdictResult,
)
from dgemma_lsp.methods.shapes import (
    VersionedEdit as VersionedEdit,
)
from dgemma_lsp.methods.state import (
    KnownModel as KnownModel,
)
from dgemma_lsp.methods.state import (
    ModelsResult as ModelsResult,
)
from dgemma_lsp.methods.state import (
    PullModelParams as PullModelParams,
)
from dgemma_lsp.methods.state import (
    PullModelResult as PullModelResult,
)
from dgemma_lsp.methods.state import (
    StatusResult as StatusResult,
)
from dgemma_lsp.methods.state import (
    StopResult as StopResult,
)

FILL = "dgemma/fill"
"""Request: fill the hole at a position and answer with everything known of it."""
PREVIEW = "dgemma/preview"
"""Notification to the client: the canvas of a running fill as it stands."""
EXTENDED = "dgemma/extended"
"""Notification to the client: a draft of which only the beginning was shown is whole now."""
MEND = "dgemma/mend"
"""Request: mend the syntax error that a range touches, as an edit."""
REWRITE = "dgemma/rewrite"
"""Request: rewrite the lines of a range by an instruction the model knows, as an edit."""
REWRITES = "dgemma/rewrites"
"""Request: the instructions the model knows, and how often it gets each right."""
RESOLVE = "dgemma/resolve"
"""Request: accept, reject or redo hunks of a rewrite that was proposed."""
HOLES = "dgemma/holes"
"""Request: the marked holes of a document; asks no model."""
FILL_HOLES = "dgemma/fillHoles"
"""Request: fill several holes together, consistent with each other."""
CONFIDENCE = "dgemma/confidence"
"""Request: how sure the model was of every token of a completion that was offered."""
DID_SHOW = "dgemma/didShow"
"""Notification to the server: a completion is on the screen."""
DID_PARTIALLY_ACCEPT = "dgemma/didPartiallyAccept"
"""Notification to the server: the beginning of a completion was taken."""
DID_REJECT = "dgemma/didReject"
"""Notification to the server: a completion that was shown was dismissed."""
STATISTICS = "dgemma/statistics"
"""Request: what was shown, accepted and kept; counted on this machine and never sent anywhere."""
ERASE_STATISTICS = "dgemma/eraseStatistics"
"""Request: forget the statistics."""
MODELS = "dgemma/models"
"""Request: the models that can be run, and which of them are on this machine."""
PULL_MODEL = "dgemma/pullModel"
"""Request: bring a model onto this machine; progress is shown as LSP's work done progress."""
STATUS = "dgemma/status"
"""Request: what the server and its runtime are doing, and why it was silent."""
STOP_RUNTIME = "dgemma/stopRuntime"
"""Request: end the runtime process; the next fill starts another."""

ACCEPTED = "dgemma.accepted"
"""Command that an editor runs after it has inserted a candidate; its argument is the offer's id."""
ACT = "dgemma.act"
"""Command of code actions, for clients that resolve none: makes the edit and sends it."""
RESTART_RUNTIME = "dgemma.restartRuntime"
"""Command for people: end the runtime; the next request starts another."""
