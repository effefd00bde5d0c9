"""The server's side of the socket: finding, starting and asking a runtime."""
