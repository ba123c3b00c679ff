"""Manifest and root against vectors that were made from the specification alone, for us and for integrators."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from libs.contracts.manifest import Manifest, UncheckedManifest, root_of_document, signature_input
from tests.vectors import manifest_root

VECTORS: list[dict[str, Any]] = json.loads(manifest_root.FILE.read_text(encoding="ascii"))["vectors"]
EACH = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def test_the_committed_vectors_are_those_of_the_specification() -> None:
    assert manifest_root.FILE.read_text(encoding="ascii") == manifest_root.text()
    assert [len(vector["manifest"]["documents"]) for vector in VECTORS] == [1, 2, 3, 7, 8, 500]


@EACH
def test_header_root_and_signature_input(vector: dict[str, Any]) -> None:
    commitment = Manifest.model_validate(vector["manifest"]).commitment()
    assert commitment.header_hash.hex() == vector["header_hash"]
    assert commitment.root.hex() == vector["root"]
    assert signature_input(commitment.root).hex() == vector["signature_input"]
    assert UncheckedManifest.model_validate(vector["manifest"]).commitment().root == commitment.root


@EACH
def test_every_path_proves_its_document_and_no_other(vector: dict[str, Any]) -> None:
    manifest = Manifest.model_validate(vector["manifest"])
    paths = manifest.commitment().paths
    for text, nodes in vector["paths"].items():
        index, path = int(text), [bytes.fromhex(node) for node in nodes]
        assert paths[index] == path
        document = manifest.documents[index]
        assert root_of_document(manifest.header, document, index, path).hex() == vector["root"]
        other = replace(document, amount="0.02")
        assert root_of_document(manifest.header, other, index, path).hex() != vector["root"]


@EACH
def test_order_and_every_value_are_under_the_root(vector: dict[str, Any]) -> None:
    header, documents = vector["manifest"]["header"], vector["manifest"]["documents"]
    roots = {vector["root"]}
    changed: list[dict[str, Any]] = [
        {"header": header | {name: header[name] + "0"}, "documents": documents} for name in header
    ]
    changed += [
        {"header": header, "documents": [documents[0] | {name: documents[0][name] + "0"}, *documents[1:]]}
        for name in documents[0]
    ]
    if len(documents) > 1:
        changed.append({"header": header, "documents": [documents[1], documents[0], *documents[2:]]})
    for each in changed:
        roots.add(UncheckedManifest.model_validate(each).commitment().root.hex())
    assert len(roots) == len(changed) + 1


@pytest.mark.parametrize("name", ["request", "count"])
def test_an_unknown_name_is_refused_and_never_hashed_away(name: str) -> None:
    vector = VECTORS[0]["manifest"]
    for place in (vector["header"], vector["documents"][0]):
        changed = json.loads(json.dumps(vector).replace(json.dumps(place), json.dumps(place | {"new": name})))
        with pytest.raises(ValidationError):
            Manifest.model_validate(changed)
