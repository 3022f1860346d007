"""The spellings of other tools' documents. They call the API, and nothing below."""
