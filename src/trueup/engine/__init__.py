"""Effects: observe, execute, remember."""
