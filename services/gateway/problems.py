"""Problem details (RFC 9457) for every error of the API: a stable code, a text in two languages, never a value."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from libs.bus.outcomes import Unavailable
from libs.contracts.manifest import DOCUMENT_FIELDS, Header, Manifest
from libs.contracts.problems import ProblemCode
from libs.contracts.texts import Language, problem_text
from libs.storage.errors import is_unavailable
from services.gateway.schemas import Authorisation, Fault, OtpResend, Problem, SigningRequest
from services.gateway.token_schemas import TokenSignature, TokenSignatures

MEDIA_TYPE: Final = "application/problem+json"

RETRY_AFTER: Final = 2
"""Seconds after which an unavailable dependency may be back."""

SHOWN_FAULTS: Final = 10

STATUS: Final[Mapping[ProblemCode, HTTPStatus]] = {
    ProblemCode.UNAUTHORISED: HTTPStatus.UNAUTHORIZED,
    ProblemCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ProblemCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ProblemCode.REQUEST_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    ProblemCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ProblemCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    ProblemCode.BODY_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.IDEMPOTENCY_KEY_REUSED: HTTPStatus.CONFLICT,
    ProblemCode.ID_CONFLICT: HTTPStatus.CONFLICT,
    ProblemCode.CALLER_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ProblemCode.CALLER_SIGNATURE_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.MANIFEST_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.DOCUMENT_DUPLICATE: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.TOO_MANY_DOCUMENTS: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.AUTHORISATION_TOO_EARLY: HTTPStatus.CONFLICT,
    ProblemCode.AUTHORISATION_TOO_LATE: HTTPStatus.CONFLICT,
    ProblemCode.CANCELLATION_TOO_LATE: HTTPStatus.CONFLICT,
    ProblemCode.WRONG_MEDIUM: HTTPStatus.CONFLICT,
    ProblemCode.TOKEN_SIGNATURES_TOO_EARLY: HTTPStatus.CONFLICT,
    ProblemCode.TOKEN_SIGNATURES_TOO_LATE: HTTPStatus.CONFLICT,
    ProblemCode.DOCUMENT_NOT_IN_REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    ProblemCode.RESEND_TOO_EARLY: HTTPStatus.CONFLICT,
    ProblemCode.RESEND_TOO_LATE: HTTPStatus.CONFLICT,
    ProblemCode.RESEND_NOT_ROAMING: HTTPStatus.CONFLICT,
    ProblemCode.TOO_MANY_CALLS: HTTPStatus.TOO_MANY_REQUESTS,
    ProblemCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ProblemCode.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_HEADERS: Final[Mapping[ProblemCode, Mapping[str, str]]] = {
    ProblemCode.UNAUTHORISED: {"WWW-Authenticate": "Bearer"},
    ProblemCode.UNAVAILABLE: {"Retry-After": str(RETRY_AFTER)},
}

_MAY_HAVE_BEEN_TAKEN: Final = frozenset({ProblemCode.UNAVAILABLE, ProblemCode.INTERNAL_ERROR})
"""The answers after which nobody can tell yet what the call did; every other one did nothing."""

_NAMES: Final = frozenset(
    {
        *("body", "header", "path", "request_id", "device_id", "user", "idempotency-key", "last-event-id"),
        *Authorisation.model_fields,
        *TokenSignatures.model_fields,
        *TokenSignature.model_fields,
        *OtpResend.model_fields,
        *SigningRequest.model_fields,
        *Manifest.model_fields,
        *Header.model_fields,
        *DOCUMENT_FIELDS,
    }
)
"""Names of ours; any other in the place of a fault is the sender's text, which may be a PIN in the wrong place."""

log = structlog.get_logger()


class ProblemError(Exception):
    """A call that is answered with this problem."""

    def __init__(self, code: ProblemCode, *, errors: Sequence[Fault] = (), refused: bytes | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.errors = errors
        self.refused = refused


def problem(
    code: ProblemCode,
    *,
    language: Language,
    trace_id: str,
    errors: Sequence[Fault] = (),
    refused: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer; `refused` is the root of the content that an id conflict refused."""
    body = details(code, language=language, trace_id=trace_id, errors=errors, refused=refused)
    more = {**_HEADERS.get(code, {}), **(headers or {}), "Content-Language": language, "Vary": "Accept-Language"}
    return Response(body.model_dump_json(), status_code=body.status, media_type=MEDIA_TYPE, headers=more)


def details(
    code: ProblemCode,
    *,
    language: Language,
    trace_id: str,
    errors: Sequence[Fault] = (),
    refused: bytes | None = None,
) -> Problem:
    """The body of the answer."""
    effect = None if code in _MAY_HAVE_BEEN_TAKEN else False
    text = problem_text(code, language)
    return Problem(
        type=f"urn:gpki:problem:{code}",
        title=text.title,
        status=STATUS[code],
        detail=text.detail,
        code=code,
        next_step=text.next_step,
        trace_id=trace_id,
        errors=tuple(errors),
        signed=effect,
        posted=effect,
        refused=None if refused is None else refused.hex(),
    )


def code_of(error: Exception) -> ProblemCode:
    """The code of an exception that nobody has turned into an answer; logs what is a fault of ours."""
    if isinstance(error, ProblemError):
        return error.code
    if isinstance(error, Unavailable) or is_unavailable(error):
        log.warning("unavailable", dependency=error.dependency if isinstance(error, Unavailable) else "database")
        return ProblemCode.UNAVAILABLE
    log.error("call-failed", exc_info=error)
    return ProblemCode.INTERNAL_ERROR


def language_of(accept_language: str) -> Language:
    """The preferred language of RFC 9110 section 12.5.4 that we have; Malay when none is preferred."""
    best: tuple[float, Language] = (0.0, "ms")
    for part in accept_language[:200].lower().split(","):
        tag, _, weight = part.strip().partition(";q=")
        language: Language | None = "ms" if tag.split("-")[0] == "ms" else "en" if tag.split("-")[0] == "en" else None
        if language is not None and (found := _weight(weight)) > best[0]:
            best = (found, language)
    return best[1]


def answer_problems(app: FastAPI) -> None:
    """Have FastAPI answer its own errors as problems too."""

    async def of_problem(request: Request, error: Any) -> Response:
        return _answer(request, error.code, errors=error.errors, refused=error.refused)

    async def of_http(request: Request, error: Any) -> Response:
        code = {404: ProblemCode.NOT_FOUND, 405: ProblemCode.METHOD_NOT_ALLOWED}.get(error.status_code)
        return _answer(request, code or ProblemCode.MALFORMED, headers=error.headers)

    async def of_validation(request: Request, error: Any) -> Response:
        found = error.errors()
        if any(fault["type"] == "json_invalid" for fault in found):
            return _answer(request, ProblemCode.MALFORMED)
        return _answer(request, ProblemCode.BODY_INVALID, errors=[_fault(fault) for fault in found[:SHOWN_FAULTS]])

    app.add_exception_handler(ProblemError, of_problem)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)


def _answer(request: Request, code: ProblemCode, **more: Any) -> Response:
    return problem(code, language=request.state.language, trace_id=request.state.trace_id, **more)


def _fault(fault: Mapping[str, Any]) -> Fault:
    # A number is an index into a list; a name may be the sender's text.
    known = (str(part) if type(part) is int or part in _NAMES else "(unknown name)" for part in fault["loc"])
    place = ".".join(known)
    return Fault(place=place, rule=fault["type"])


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
