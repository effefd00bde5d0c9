"""The commands ``dgemma`` and ``dgemma-lsp``."""
