"""Logging as in a service, and the consumers that a bus makes."""

from typing import Any
from unittest.mock import AsyncMock

import pytest

from libs.bus import bus as bus_module
from libs.bus import consumption
from libs.bus.consumption import Consumption
from libs.bus.due import DueWorker
from libs.runtime.logging import configure_logging


@pytest.fixture(autouse=True, scope="session")
def logging() -> None:
    """As in a service: structlog's own console draws tracebacks with all locals, for seconds."""
    configure_logging("test")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Consumption]:
    """The consumers that a bus makes. They settle when they are told to."""
    found: list[Consumption] = []

    class Seen(Consumption):
        def __init__(self, **how: Any) -> None:
            super().__init__(**how)
            found.append(self)

    monkeypatch.setattr(bus_module, "Consumption", Seen)
    monkeypatch.setattr(consumption, "SETTLE_EVERY", 3_600)
    monkeypatch.setattr(DueWorker, "_sweep", AsyncMock())  # it marks, too
    return found
