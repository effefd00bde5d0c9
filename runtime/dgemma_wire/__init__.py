"""The contract between language server and runtime: messages, framing, endpoint, settings.

Used by both processes and by nothing else. No sockets, no event loop, no tokens, no torch.
"""

from dgemma_wire.connection import MAX_FRAME_BYTES, Connection, Role
from dgemma_wire.messages import PROTOCOL_VERSION

__all__ = ["MAX_FRAME_BYTES", "PROTOCOL_VERSION", "Connection", "Role"]
