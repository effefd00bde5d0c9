"""One module per LSP request: take apart, call the core, convert the answer."""
