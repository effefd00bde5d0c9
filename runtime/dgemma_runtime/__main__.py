"""``python -m dgemma_runtime``."""

from dgemma_runtime.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
