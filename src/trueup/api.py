"""The asynchronous Python API. Every face (command line, blocking facade, later REST) calls this and nothing below."""
