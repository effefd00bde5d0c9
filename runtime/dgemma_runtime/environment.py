"""What torch's libraries read from the environment when they are loaded.

Owns the variables and their values. Imports nothing, so that it can come before torch does.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    # Threads that spin while they wait lose their turn to whatever else runs: with one core busy, a
    # step took seconds instead of 40 ms.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Every prefix length is a new shape, and torch's CPU libraries keep what they made for up to
    # 1024 shapes each: hundreds of MiB that nothing uses again.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "LRU_CACHE_CAPACITY": "32",
}
"""The user's own values go first."""


def prepare() -> None:
    """Set the variables that are not set yet; works until torch is first imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
