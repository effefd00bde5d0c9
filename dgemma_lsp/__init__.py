"""The language server: editors on one side, the runtime's socket on the other. Never torch."""
