"""Results, in the form that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trueup.cli.common import Output, Session
from trueup.render.text import Line


def respond(session: Session, name: str, lines: Iterable[Line], **fields: object) -> None:
    """Write a result: lines for people, or one document with the same content.

    Args:
        session: Says in which form.
        name: Of the document.
        lines: For people.
        fields: For programs.
    """
    from trueup.render.documents import document, dump, event

    match session.output:
        case Output.TEXT:
            session.show(lines)
        case Output.JSON:
            session.answer(dump(document(name, **fields)))
        case Output.JSONL:
            session.answer(event(name, **fields))


def finish(session: Session, name: str, /, **fields: Any) -> None:
    """Write the one document of ``--json``; the last event of ``--output jsonl``."""
    from trueup.render.documents import document, dump, event

    if session.output is Output.JSON:
        session.answer(dump(document(name, **fields)))
    elif session.output is Output.JSONL:
        session.answer(event("end", exit_code=fields["exit_code"]))
