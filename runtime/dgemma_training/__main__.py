"""``python -m dgemma_training``: what ``dgemma train`` and ``dgemma eval`` run."""

from __future__ import annotations

import sys

from dgemma_training.cli import main

if __name__ == "__main__":
    sys.exit(main())
