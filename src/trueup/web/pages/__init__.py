"""The pages: HTML over the same functions as REST. `mount` adds them to the application."""

from __future__ import annotations

from fastapi import FastAPI

from trueup.web.service import Service


def mount(app: FastAPI, service: Service) -> None:
    """Add the pages. What they need of the server hangs on `service`; `app.state.service` is the same."""
    from trueup.web.pages import login

    login.mount(app, service)
