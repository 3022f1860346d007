"""Results of commands that need no engine, in the form that is asked for."""

from __future__ import annotations

from collections.abc import Iterable

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
