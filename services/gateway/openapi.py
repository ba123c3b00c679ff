"""docs/openapi.yaml from the routes, by FastAPI's generator: `python -m services.gateway.openapi [--check]`.

What it says beside the generator's: that errors are problem details, with which codes, and when to try again.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from libs.contracts.problems import ProblemCode
from libs.runtime.generated_file import write_or_check, yaml_text
from services.gateway.api import create_api
from services.gateway.descriptions import CODES
from services.gateway.examples import EXAMPLES, problem_example
from services.gateway.problems import MEDIA_TYPE, STATUS
from services.gateway.schemas import SigningRequest
from services.gateway.token_schemas import TokenSignatures

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"

_DESCRIPTION = (
    "Signings from request to receipt, and an officer's medium, for registered callers. Every call carries a JWT of "
    "its own (`kid`: the caller's key; `iss`: caller, `sub`: user, `aud`: gpki-gateway, `exp` at most 60 s ahead, "
    "`jti` used once), over a TLS connection whose client certificate has that same key; a device's call needs no "
    "certificate. What is another caller's or user's is answered 404. Errors are problem details (RFC 9457) and "
    "say whether anything was signed or posted. Texts are in the language of Accept-Language (ms, en). Bytes are "
    "standard base64. Changes are additive: ignore names that you do not know."
)
_NOBODY: Any = None
"""The description asks nobody."""

_MUTUAL_TLS: Final = "MutualTLS"
_OF_DEVICES: Final = "/v1/devices/"

_RETRY_AFTER: dict[str, Any] = {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the API."""
    app = create_api(
        service="gateway",
        access=_NOBODY,
        submissions=_NOBODY,
        tokens=_NOBODY,
        starting=_NOBODY,
        media=_NOBODY,
        resends=_NOBODY,
        inbox=_NOBODY,
        reports=_NOBODY,
        live=_NOBODY,
        pool=_NOBODY,
        service_root=b"",
        clock=_NOBODY,
    )
    described = app.openapi()
    described["info"]["description"] = _DESCRIPTION
    components = described["components"]
    components["headers"] = {"Retry-After": _RETRY_AFTER}
    components["examples"] = {str(code): {"value": problem_example(code)} for code in ProblemCode}
    read_by_route = models_json_schema(
        [(SigningRequest, "validation"), (TokenSignatures, "validation")], ref_template="#/components/schemas/{model}"
    )
    components["schemas"] = dict(sorted((components["schemas"] | read_by_route[1]["$defs"]).items()))
    for name, example in EXAMPLES.items():
        components["schemas"][name]["examples"] = [example]
    components["securitySchemes"][_MUTUAL_TLS] = {"type": "mutualTLS"}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            if not path.startswith(_OF_DEVICES):
                (needed,) = operation["security"]
                needed[_MUTUAL_TLS] = []
            for status, answer in operation["responses"].items():
                _describe(int(status), answer)
    return described


def _describe(status: int, answer: dict[str, Any]) -> None:
    codes = answer.get(CODES) or [str(code) for code, of_code in STATUS.items() if of_code == status]
    if codes:
        (said,) = answer["content"].values()
        said["examples"] = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
        answer["description"] = " or ".join(f"`{code}`" for code in codes)
        answer["content"] = {MEDIA_TYPE: said}
    for said in answer.get("content", {}).values():
        if "$ref" in said["schema"]:  # the generator calls a stream a string, beside what each event is
            said["schema"] = {"$ref": said["schema"]["$ref"]}
    if status == STATUS[ProblemCode.UNAVAILABLE]:
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}


def text(described: Mapping[str, Any]) -> str:
    """The document as it is committed."""
    return yaml_text(described)


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say whether it is current."""
    return write_or_check(FILE, text(document()), arguments, module="services.gateway.openapi")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
