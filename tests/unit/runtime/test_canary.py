"""A PIN and an OTP go through every path of the log and come out of none (design section 4.1)."""

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from libs.runtime import metrics
from libs.runtime.logging import _Stdout, log_loop_exception
from tests.unit.runtime.conftest import OTP, PIN, Log


class Submission(BaseModel):
    pin: SecretStr
    otp: str
    attempts: int


class Opaque:
    def __repr__(self) -> str:
        return f"Opaque({PIN}, {OTP})"


def invalid() -> ValidationError:
    try:
        Submission.model_validate({"pin": [PIN], "otp": OTP, "attempts": PIN})
    except ValidationError as error:
        return error
    raise AssertionError


def raised(message: str) -> RuntimeError:
    secret_local = PIN + OTP  # noqa: F841 - what a rendering with locals would show
    try:
        raise ValueError(message)  # noqa: TRY301 - a traceback is wanted
    except ValueError as cause:
        try:
            raise RuntimeError("while checking") from cause  # noqa: TRY301
        except RuntimeError as error:
            return error
    raise AssertionError


STRUCTLOG: dict[str, dict[str, Any]] = {
    "pin": {"pin": PIN},
    "otp": {"otp": OTP},
    "otp as a number": {"otp": int(OTP)},
    "camel case": {"userPin": PIN, "OTPCode": OTP},
    "SecretStr": {"value": SecretStr(PIN)},
    "bytes": {"value": PIN.encode()},
    "nested": {"body": {"form": [{"pin": PIN, "otp": OTP}]}},
    "tuple": {"arguments": ({"password": PIN},)},
    "JSON text": {"body": f'{{"pin": "{PIN}", "otp": "{OTP}"}}'},
    "escaped JSON": {"body": f'"{{\\"pin\\": \\"{PIN}\\"}}"'},
    "repr text": {"body": repr({"pin": PIN, "otp": OTP})},
    "query": {"url": f"/sign?otp={OTP}&pin={PIN}"},
    "model": {"body": Submission(pin=SecretStr(PIN), otp=OTP, attempts=1)},
    "object": {"body": Opaque()},
    "exception value": {"error": ValueError(f"bad pin={PIN}")},
    "validation error value": {"error": invalid()},
    "sealed": {"sealed_authorisation": PIN},
    "authorization": {"headers": {"Authorization": f"Bearer {PIN}"}},
    "private key": {"private_key": PIN},
    "PEM": {"body": f"-----BEGIN PRIVATE KEY-----\n{PIN}\n-----END PRIVATE KEY-----"},
    "context": {"event_context": {"code": OTP}},
}


@pytest.mark.parametrize("case", STRUCTLOG)
def test_structlog_values(log: Log, case: str) -> None:
    structlog.get_logger("t").error("checked", **STRUCTLOG[case])
    assert_clean(log, "checked")


@pytest.mark.parametrize("text", [f"pin={PIN}", f"OTP for you is {OTP}", f"OTP {OTP[:3]} {OTP[3:]}", f"PIN: {PIN}"])
def test_event_texts(log: Log, text: str) -> None:
    structlog.get_logger("t").info(text)
    assert_clean(log, "[redacted]")


STDLIB: dict[str, tuple[Any, ...]] = {
    "assigned": ("pin=%s otp=%s", PIN, OTP),
    "mentioned": ("OTP %s refused", OTP),
    "mapping": ("got %s", {"pin": PIN, "otp": OTP}),
    "sentence": ("the OTP of this request is %s", OTP),
    "header": ("header authorization: Bearer %s", PIN),
}


@pytest.mark.parametrize("case", STDLIB)
def test_stdlib_arguments(log: Log, case: str) -> None:
    logging.getLogger("aiokafka.consumer").error(*STDLIB[case])
    assert_clean(log, "[redacted]")


def test_stdlib_extra(log: Log) -> None:
    logging.getLogger("uvicorn.error").error("with extra", extra={"otp": OTP, "payload": {"pin": PIN}})
    assert_clean(log, "with extra")


def test_a_record_that_cannot_be_formatted(log: Log) -> None:
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if isinstance(handler, _Stdout)]  # pytest's own would raise
    logging.getLogger("lib").error("%d tries", PIN)
    log.read()
    assert "log-record-failed" in log.errors
    assert PIN not in log.errors + log.text


@pytest.mark.parametrize("message", [f"wrong pin={PIN}", f"{{'otp': '{OTP}'}}", f"OTP {OTP} is wrong"])
def test_exceptions_with_causes_and_locals(log: Log, message: str) -> None:
    structlog.get_logger("t").error("failed", exc_info=raised(message))
    logging.getLogger("asyncpg").error("failed", exc_info=raised(message))
    structlog.get_logger("t").error("failed", exc_info=ExceptionGroup("both", [raised(message), invalid()]))
    assert_clean(log, "RuntimeError: while checking")


def test_validation_errors_as_exception_cause_and_text(log: Log) -> None:
    try:
        raise RuntimeError("bad body") from invalid()  # noqa: TRY301
    except RuntimeError:
        structlog.get_logger("t").exception("refused")
    logging.getLogger("fastapi").error("refused: %s", invalid())
    structlog.get_logger("t").error("refused", text=str(invalid()), errors=invalid().errors())
    assert_clean(log, "refused")


def test_database_details(log: Log) -> None:
    detail = f"new row violates check\nDETAIL:  Failing row contains ({PIN}, {OTP}).\nDETAIL: Key (a)=({PIN}) exists."
    structlog.get_logger("t").error("failed", exc_info=RuntimeError(detail))
    assert_clean(log, "Failing row contains")


async def test_hooks_of_interpreter_threads_and_loop(log: Log) -> None:
    error = raised(f"pin={PIN}")
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(ValueError(f"otp={OTP}")))
    thread.start()
    thread.join()
    log_loop_exception(asyncio.get_running_loop(), {"message": "never retrieved", "exception": error})
    assert_clean(log, "unhandled-exception", "loop-exception")


def test_alarms(log: Log) -> None:
    metrics.alarm("posting", "canary", pin=PIN, event=f"otp={OTP}", body={"otp": OTP})
    assert_clean(log, "canary")


def assert_clean(log: Log, *expected: str) -> None:
    records = log.read()
    assert records
    assert all(text in log.text for text in expected)
    for canary in (PIN, PIN[:12], OTP, f"{OTP[:3]} {OTP[3:]}"):
        assert canary not in log.text + log.errors
