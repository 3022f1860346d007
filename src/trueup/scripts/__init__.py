"""Command lines of other tools' documents, literally."""
