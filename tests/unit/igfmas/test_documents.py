"""A document's bytes are the same whenever they are rendered, and the caller signs what the officer sees."""

import hashlib
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.ids import request_id_of
from libs.contracts.manifest import signature_input
from libs.crypto.signatures import verify
from libs.gpki_client import Caller
from services.igfmas.documents import Paper, manifest_of, paper_of, request_of
from services.igfmas.vouchers import Voucher

VOUCHER = Voucher(
    voucher="BB1", kind="bekalan", title="Alat tulis", payee="Maju", amount="10.00", currency="MYR", office="JKR"
)
PRIVATE = Ed25519PrivateKey.generate()
KEY = Caller("igfmas", PRIVATE)


def paper(**changes: str) -> Paper:
    return paper_of(VOUCHER.model_copy(update=changes), "D1")


def test_the_bytes_are_deterministic_and_what_the_entry_says() -> None:
    assert paper() == paper()
    assert hashlib.sha256(paper().content).hexdigest() == paper().entry.sha256
    assert paper().entry.id == "D1-BB1"


@pytest.mark.parametrize("field", ["kind", "title", "payee", "amount", "currency", "office"])
def test_every_field_of_a_voucher_changes_the_bytes(field: str) -> None:
    other = {"amount": "11.00", "currency": "USD"}.get(field, "lain")
    assert paper(**{field: other}).entry.sha256 != paper().entry.sha256


def test_another_prefix_is_another_document() -> None:
    other = paper_of(VOUCHER, "D2")
    assert other.entry.id != paper().entry.id
    assert other.entry.sha256 != paper().entry.sha256


def test_the_caller_signs_the_root_and_the_key_of_the_record_is_the_request() -> None:
    manifest = manifest_of((paper().entry,), request="R1", user="800101055566", office="JANM", action="sah")
    event = request_of(manifest, KEY)
    assert verify(PRIVATE.public_key(), event.signature, signature_input(manifest.commitment().root))
    assert UUID(event.key) == request_id_of("igfmas", "R1")


def test_what_stands_twice_in_a_request_is_refused_before_it_is_sent() -> None:
    entry = paper().entry
    with pytest.raises(ValueError, match="twice"):
        manifest_of((entry, entry), request="R1", user="800101055566", office="JANM", action="sah")
