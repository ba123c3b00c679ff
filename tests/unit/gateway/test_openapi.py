"""docs/openapi.yaml is what the routes say now, and is an OpenAPI 3.1 document that describes what is answered."""

import json
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from libs.contracts.problems import ProblemCode
from services.gateway import openapi
from services.gateway.examples import EXAMPLES
from services.gateway.live import message
from services.gateway.status import status_of
from tests.support.references import at, references
from tests.unit.gateway.histories import header, history, read, stamped, told


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(openapi.FILE.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return loaded


def judge(document: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_the_committed_document_is_current() -> None:
    assert openapi.main(["--check"]) == 0


def test_a_document_that_is_not_current_is_said_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "FILE", tmp_path / "docs" / "openapi.yaml")
    monkeypatch.setattr(openapi, "document", lambda: {"openapi": "3.1.0"})
    assert openapi.main(["--check"]) == 1
    assert openapi.main([]) == 0
    assert openapi.main(["--check"]) == 0
    openapi.FILE.write_text(openapi.FILE.read_text() + "# by hand\n")
    assert openapi.main(["--check"]) == 1


def test_it_is_openapi_3_1_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version", "description"}
    found = list(references(document))
    assert len(found) > 30
    for reference in found:
        assert at(document, reference) is not None
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_refusal_is_a_problem_and_who_is_sent_away_is_told_for_how_long(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            refusals = {status: said for status, said in operation["responses"].items() if int(status) >= 400}
            assert refusals.keys() >= {"401", "422", "503"}
            for refusal in refusals.values():
                assert refusal["content"].keys() == {"application/problem+json"}
                (said,) = refusal["content"].values()
                assert said["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert said["examples"].keys() == set(refusal["x-problem-codes"])
                assert refusal["description"] == " or ".join(f"`{code}`" for code in refusal["x-problem-codes"])
            assert "Retry-After" in refusals["503"]["headers"]


def test_a_stream_is_described_by_what_each_event_says(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/signings/{request_id}/events"]["get"]["responses"]
    assert answers["200"]["content"] == {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Moment"}}}
    assert "content" not in answers["204"]


def test_what_is_answered_is_what_it_describes(document: dict[str, Any]) -> None:
    advances = read(stamped(history(header(3), posts=2)))
    judge(document, "SigningStatus").validate(json.loads(status_of(told(advances)).model_dump_json()))
    for entry in (entry for one in advances for entry in one.entries):
        row = {"seq": 1, "kind": entry.kind, "at": entry.at, "data": entry.data.model_dump_json(), "reached": None}
        data = message(row, "en").split("data: ")[1]
        judge(document, "Moment").validate(json.loads(data))


def test_every_code_is_described_where_it_is_answered_but_for_a_method_that_no_route_has(
    document: dict[str, Any],
) -> None:
    said = {
        code
        for operations in document["paths"].values()
        for operation in operations.values()
        for answer in operation["responses"].values()
        for code in answer.get("x-problem-codes", ())
    }
    assert {*ProblemCode} - said == {ProblemCode.METHOD_NOT_ALLOWED}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_of_its_schema(document: dict[str, Any], name: str) -> None:
    (example,) = document["components"]["schemas"][name]["examples"]
    judge(document, name).validate(example)


@pytest.mark.parametrize("code", ProblemCode)
def test_a_problems_example_is_of_its_schema(document: dict[str, Any], code: ProblemCode) -> None:
    example = document["components"]["examples"][code]["value"]
    judge(document, "Problem").validate(example)
    assert example["code"] == code
