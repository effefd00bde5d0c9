"""``python -m dgemma_lsp``: the language server over stdio."""

from dgemma_lsp.cli.lsp import main

if __name__ == "__main__":
    raise SystemExit(main())
