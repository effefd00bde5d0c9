"""How much memory this process holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def resident_mb() -> int:
    """Return resident memory in MiB: the current figure on Linux, the peak elsewhere, or 0."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 2**20 if sys.platform == "darwin" else peak // 2**10
