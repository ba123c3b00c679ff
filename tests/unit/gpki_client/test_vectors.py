"""The SDK against the committed vectors and against the platform's own code: two makers of the same bytes."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import request_id_of
from libs.crypto import merkle as theirs
from libs.crypto.sealing import open_sealed
from libs.crypto.secrets import Secrets, SecretsError, normal_pin
from libs.crypto.signatures import verify
from libs.gpki_client import Caller, Document, GpkiError, Manifest, ManifestError, SealingKey, merkle, sealing
from libs.gpki_client import errors as sdk_errors
from libs.gpki_client.caller import key_id_of
from libs.gpki_client.manifest import root_of_document, signature_input
from tests.support.pki import shared_rsa_key

VECTORS = Path(__file__).parents[2] / "vectors"
ROOTS: list[dict[str, Any]] = json.loads((VECTORS / "manifest_root.json").read_text())["vectors"]
SEALED: dict[str, Any] = json.loads((VECTORS / "sealing.json").read_text())

KEY = Ed25519PrivateKey.generate()


@pytest.mark.parametrize("vector", ROOTS, ids=lambda vector: vector["name"])
def test_root_signature_input_and_paths_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    manifest = Manifest.from_json(vector["manifest"])
    assert manifest.as_json() == vector["manifest"]
    assert manifest.root.hex() == vector["root"]
    assert signature_input(manifest.root).hex() == vector["signature_input"]
    header, documents = vector["manifest"]["header"], vector["manifest"]["documents"]
    for index, nodes in vector["paths"].items():
        path = [bytes.fromhex(node) for node in nodes]
        assert manifest.paths[int(index)] == path
        assert root_of_document(header, documents[int(index)], int(index), path) == manifest.root


@given(st.integers(1, 70), st.data())
def test_paths_prove_their_leaf_as_the_platform_s_do_and_no_other_shape(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    paths = merkle.inclusion_paths(leaves)
    assert paths == theirs.inclusion_paths(leaves)
    root = merkle.tree_root(leaves)
    assert root == theirs.tree_root(leaves) == merkle.root_from_path(leaves[index], index, size, paths[index])
    for wrong in ([*paths[index], leaves[0]], paths[index][:-1] if paths[index] else [leaves[0]]):
        with pytest.raises(ValueError, match="path too"):
            merkle.root_from_path(leaves[index], index, size, wrong)
    with pytest.raises(ValueError, match="no such"):
        merkle.root_from_path(leaves[index], size, size, paths[index])


def document(**changes: Any) -> Document:
    return Document(
        **{
            "id": "D1", "kind": "baucar", "title": "Alat tulis", "payee": "Maju", "amount": "10.00",
            "currency": "MYR", "sha256": "ab" * 32,
        } | changes
    )  # fmt: skip


def manifest(*documents: Document, **changes: Any) -> Manifest:
    named = {"request": "R1", "caller": "igfmas", "system": "iGFMAS", "user": "800101145566", "office": "JANM"}
    return Manifest.of(documents or [document()], **{**named, "action": "sah", **changes})


def test_the_request_id_is_the_platform_s() -> None:
    assert manifest().request_id == request_id_of("igfmas", "R1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "10"), ("amount", "10.0٠"), ("amount", 10), ("title", ""), ("title", "a\nb"), ("title", "a\n"),
        ("payee", "\u202egnp"), ("payee", "\ud800"), ("sha256", "AB" * 32), ("id", "a b"), ("currency", "RM"),
    ],
)  # fmt: skip
def test_what_the_platform_would_refuse_is_refused_before_it_is_sent_and_not_quoted(field: str, value: Any) -> None:
    with pytest.raises(ManifestError) as raised:
        document(**{field: value})
    assert str(raised.value) == f"{field} is not of its form"


def test_a_manifest_has_documents_each_once_and_no_other_names() -> None:
    for wrong in ({"user": "8001"}, {"action": "lulus"}, {"caller": "a/b"}):
        with pytest.raises(ManifestError):
            manifest(**wrong)
    with pytest.raises(ManifestError, match="twice"):
        manifest(document(), document())
    as_json = manifest().as_json()
    for changed in (
        as_json | {"documents": []},
        {"header": as_json["header"]},
        as_json | {"header": as_json["header"] | {"new": "x"}},
        as_json | {"header": as_json["header"] | {"count": "2"}},
    ):
        with pytest.raises(ManifestError):
            Manifest.from_json(changed)


@pytest.mark.parametrize(
    "key",
    [KEY, ec.generate_private_key(ec.SECP256R1()), shared_rsa_key()],
    ids=["ed25519", "p-256", "rsa"],
)
def test_the_platform_accepts_the_caller_s_signature_of_every_kind(key: Any) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    caller = Caller.from_pem("igfmas", pem)
    assert verify(key.public_key(), caller.sign_root(bytes(32)), signature_input(bytes(32)))
    assert caller.key_id == key_id_of(key.public_key())
    assert "PrivateKey" not in repr(caller)


@pytest.mark.parametrize("pem", [b"-----BEGIN PRIVATE KEY-----\nrahsia\n-----END PRIVATE KEY-----\n", b""])
def test_what_is_no_key_is_refused_without_its_content(pem: bytes) -> None:
    with pytest.raises(GpkiError) as raised:
        Caller.from_pem("igfmas", pem)
    assert "rahsia" not in str(raised.value)


@pytest.mark.parametrize("case", SEALED["cases"], ids=lambda case: case["otp"])
def test_sealing_is_that_of_the_vectors(case: dict[str, Any]) -> None:
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(SEALED["private_key"]))
    root = bytes.fromhex(case["root"])
    info = sealing.sealing_info(case["purpose"], case["request_id"], root, SEALED["sealing_key_id"])
    assert info.hex() == case["info"]
    assert sealing.encode_secrets(case["pin"], case["otp"]).hex() == case["plaintext"]
    assert sealing.open_sealed(bytes.fromhex(case["sealed"]), private, info).hex() == case["plaintext"]
    key = SealingKey(SEALED["sealing_key_id"], private.public_key())
    ours = key.seal_authorisation(pin=case["pin"], otp=case["otp"], request_id=UUID(case["request_id"]), root=root)
    assert open_sealed(ours, private, info).hex() == case["plaintext"]


@given(st.text(max_size=70), st.sampled_from(["000000", "12345", "١٢٣٤٥٦", "1234567", "12345\n"]))
def test_a_pin_and_an_otp_are_of_the_form_that_the_signer_reads(pin: str, otp: str) -> None:
    try:
        expected = Secrets(pin=pin, otp=otp)
    except SecretsError:
        with pytest.raises(sdk_errors.SecretsError) as raised:
            sealing.encode_secrets(pin, otp)
        assert otp not in str(raised.value)
    else:
        assert Secrets.decode(sealing.encode_secrets(pin, otp)) == expected
        assert normal_pin(pin) == expected.pin
