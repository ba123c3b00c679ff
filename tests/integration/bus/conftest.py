"""Logging as in a service."""

import pytest

from libs.runtime.logging import configure_logging


@pytest.fixture(autouse=True, scope="session")
def logging() -> None:
    """As in a service: structlog's own console draws tracebacks with all locals, for seconds."""
    configure_logging("test")
