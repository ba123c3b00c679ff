"""A manifest that is all faults costs no more to refuse than one with a few."""

import pytest
from pydantic import BaseModel, ValidationError

from libs.contracts.manifest import MAX_DOCUMENTS, MAX_NAMES, Manifest, UncheckedManifest

NOT_TEXT = {f"n{number}": 0 for number in range(MAX_NAMES)}
TOO_MANY = NOT_TEXT | {"one-more": 0}


@pytest.mark.parametrize("document", [NOT_TEXT, TOO_MANY], ids=["not text", "too many names"])
@pytest.mark.parametrize("model", [UncheckedManifest, Manifest])
def test_the_faults_of_one_document_are_all_that_is_found(model: type[BaseModel], document: dict[str, int]) -> None:
    hostile = {"header": document, "documents": [document] * MAX_DOCUMENTS}
    with pytest.raises(ValidationError) as refused:
        model.model_validate(hostile)
    assert refused.value.error_count() <= 5 * MAX_NAMES


def test_a_name_more_than_anybody_needs_is_refused_by_its_number() -> None:
    with pytest.raises(ValidationError) as refused:
        UncheckedManifest.model_validate({"header": {}, "documents": [TOO_MANY]})
    assert [error["type"] for error in refused.value.errors()] == ["too_many_names"]
