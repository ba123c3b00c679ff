"""A log that tests can read, and global state of logging put back after each test."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from libs.runtime.logging import configure_logging

PIN = "Rahsia-CANARY-pin-7319"
OTP = "739146"


class Log:
    """What a configured process printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""
        self.errors = ""

    def read(self) -> list[dict[str, Any]]:
        out, err = self._capsys.readouterr()
        self.text += out
        self.errors += err
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configuration = structlog.get_config()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    configure_logging("posting", "DEBUG")
    yield Log(capsys)
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.configure(**configuration)
    structlog.contextvars.clear_contextvars()
