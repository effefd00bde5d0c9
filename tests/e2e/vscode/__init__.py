"""VS Code, one window for most of it: a package, so that the window ends with its last test."""
