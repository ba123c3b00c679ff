"""One JSON line per event on stdout, for our code and for every library, with secrets taken out on the way."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor

from libs.runtime.redaction import MAX_TEXT, scrub_exception, scrub_mapping, scrub_text

MAX_LINE: Final = 32_768
"""Characters of one line; a longer one is reduced to what identifies it."""

_CHATTY: Final = ("aiokafka", "httpx", "httpcore", "asyncio")
"""Libraries whose INFO lines say nothing to an operator (a line per heartbeat, request or poll)."""

_SELF_MADE: Final = ("faststream", "faststream.access.kafka")
"""Loggers to which FastStream adds a coloured handler that does not propagate, unless one on stdout is there."""


def configure_logging(service: str, level: str = "INFO") -> None:
    """Route structlog and stdlib logging, warnings and unhandled exceptions to stdout as JSON lines.

    Fields: ts (UTC, ISO 8601), level, service, logger, event, what was bound by `structlog.contextvars`
    (`request_id`, `trace_id`), then the event's own. Called once per process, before the first broker or server is
    made; calling it again replaces the configuration. Nothing that it prints contains locals.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers are made at import, before the configuration
    )
    handler = _Stdout()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[_Line(service)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _adopt(handler)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_unhandled
    threading.excepthook = lambda args: _log_unhandled(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _log_unhandled(args.exc_type, args.exc_value, args.exc_traceback)


def log_loop_exception(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Exception handler of the event loop: what a forgotten task or callback raised, redacted."""
    error = context.get("exception")
    structlog.get_logger("asyncio").error("loop-exception", message=context.get("message"), exc_info=error)


class _Stdout(logging.StreamHandler[Any]):
    """Writes to the present `sys.stdout`; a record that cannot be formatted never prints its arguments."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """`sys.stdout` as it is now: FastStream compares it, and tests replace it."""
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in stdlib
        # The stdlib's own way prints message and arguments to stderr, and a PIN may be among them.
        line = {"level": "error", "logger": record.name, "event": "log-record-failed", "line": record.lineno}
        sys.stderr.write(json.dumps(line) + "\n")


class _Line:
    """Last processor: an event dictionary becomes one redacted, bounded JSON line."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)
        stamped: MutableMapping[str, Any] = self._stamp(logger, method, {})
        head = {
            "ts": stamped["ts"],
            "level": event.pop("level", method),
            "service": self._service,
            "logger": event.pop("logger", None),
            "event": scrub_text(str(event.pop("event", ""))),
        }
        error = _exception(event.pop("exc_info", None))
        event.pop("stack_info", None)
        tail = scrub_mapping({key: value for key, value in event.items() if key not in head})
        if error is not None:
            tail["exception"] = scrub_exception(error)
        line = json.dumps(head | tail)
        if len(line) <= MAX_LINE:
            return line
        kept = {key: tail[key] for key in ("request_id", "trace_id") if key in tail}
        return json.dumps(head | kept | {"cut": f"{len(line)} characters", "names": str(sorted(tail))[:MAX_TEXT]})


def _exception(info: object) -> BaseException | None:
    """What `exc_info` may be: an exception, the triple of `sys.exc_info`, or True for the one being handled."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return _exception(info[1])
    return sys.exc_info()[1] if info else None


def _adopt(handler: logging.Handler) -> None:
    """Take the handlers of libraries away, so that their records reach ours (uvicorn: give it `log_config=None`)."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    for name in _SELF_MADE:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False


def _log_unhandled(
    kind: type[BaseException], error: BaseException | None, _traceback: TracebackType | None = None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    structlog.get_logger("runtime").critical("unhandled-exception", exc_info=error or kind())
