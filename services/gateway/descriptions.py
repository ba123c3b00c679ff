"""What each route says of itself in docs/openapi.yaml, beside what FastAPI finds in its signature."""

from typing import Any, Final

from pydantic import BaseModel

from libs.contracts.problems import ProblemCode
from services.gateway.problems import STATUS
from services.gateway.schemas import Problem

CODES: Final = "x-problem-codes"
"""The codes of a status, in an answer's description; stable, so a client may be made from them."""

EVERY_CALL: Final = (
    ProblemCode.MALFORMED,
    ProblemCode.UNAUTHORISED,
    ProblemCode.REQUEST_TIMEOUT,
    ProblemCode.TOO_LARGE,
    ProblemCode.BODY_INVALID,
    ProblemCode.INTERNAL_ERROR,
    ProblemCode.UNAVAILABLE,
)
"""What any call to a route may be answered."""


def problems(*codes: ProblemCode) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may be answered with these problems, beside those of every call."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in (*EVERY_CALL, *codes):
        of_status = responses.setdefault(int(STATUS[code]), {"model": Problem, CODES: []})
        of_status[CODES].append(str(code))
    return responses


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body itself; `services.gateway.openapi` adds the model."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
