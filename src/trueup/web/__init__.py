"""The server: REST, events and pages for every kind of target. It calls `trueup.api` as the command line does.

Nothing else imports this package; it needs the extra ``web``.
"""
