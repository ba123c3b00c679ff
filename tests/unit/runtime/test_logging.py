"""One JSON line per event with the fields that operators search by, from our code and from every library."""

import logging
import subprocess
import sys
import warnings

import structlog
from faststream.kafka import KafkaBroker

from libs.runtime.logging import MAX_LINE, configure_logging
from tests.unit.runtime.conftest import Log


def test_fields_of_a_line(log: Log) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1", trace_id="t-1"):
        structlog.get_logger("x").info("posted", documents=3)
    (line,) = log.read()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "service": "posting",
        "logger": "x",
        "event": "posted",
        "request_id": "r-1",
        "trace_id": "t-1",
        "documents": 3,
    }


def test_a_field_cannot_replace_what_identifies_the_line(log: Log) -> None:
    structlog.get_logger("x").bind(service="other", ts="never").info("posted")
    (line,) = log.read()
    assert line["service"] == "posting"
    assert line["ts"] != "never"


def test_libraries_go_through_the_same_renderer(log: Log) -> None:
    for name in ("faststream", "aiokafka", "asyncpg", "uvicorn.error", "anything.new"):
        logging.getLogger(name).warning("from %s", name)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # what another test left captured is no longer pytest's
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = log.read()
    assert [line["logger"] for line in lines] == [
        "faststream",
        "aiokafka",
        "asyncpg",
        "uvicorn.error",
        "anything.new",
        "py.warnings",
    ]
    assert all(line["service"] == "posting" for line in lines)


def test_a_kafka_broker_with_its_default_logger_prints_one_json_line(log: Log) -> None:
    broker = KafkaBroker("127.0.0.1:1")
    broker._setup_logger()
    broker.config.logger.log("consumer started", logging.WARNING, extra={"topic": "t"})
    lines = log.read()
    assert [line["event"] for line in lines] == ["consumer started"]
    assert lines[0]["topic"] == "t"


def test_libraries_that_say_nothing_useful_are_quiet(log: Log) -> None:
    configure_logging("posting", "INFO")
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("aiokafka").info("heartbeat")
    assert log.read() == []


def test_a_line_that_is_too_long_keeps_what_identifies_it(log: Log) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("x").info("big", **{f"field_{number}": "y" * 1500 for number in range(40)})
    (line,) = log.read()
    assert len(log.text) <= MAX_LINE
    assert (line["event"], line["request_id"]) == ("big", "r-1")
    assert "characters" in line["cut"]


def test_an_unhandled_exception_of_a_process_is_one_line_without_source_values() -> None:
    code = (
        "from libs.runtime.logging import configure_logging\n"
        "configure_logging('posting')\n"
        "secret = 'CANARY'\n"
        "raise ValueError('pin=CANARY')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    assert '"unhandled-exception"' in ended.stdout
    assert "CANARY" not in ended.stdout
