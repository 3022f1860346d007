"""The pages: HTML over the same functions as REST. `mount` adds them to the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from trueup.web.pages import (
    conflicts,
    history,
    login,
    pictures,
    plans,
    runs,
    schedules,
    settings,
    targets,
    training,
    trash,
)
from trueup.web.pages.frame import FOLDER, Frame
from trueup.web.service import Service


def mount(app: FastAPI, service: Service) -> None:
    """Add the pages. What they need of the server hangs on `service`; `app.state.service` is the same."""
    app.state.frame = Frame(service)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    for module in (login, targets, training, plans, runs, conflicts, history, trash, schedules, settings, pictures):
        app.include_router(module.router)
