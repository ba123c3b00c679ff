"""Vectors for whoever implements a registrar or a client: what is signed, and which credential a PIN is sealed for."""

from datetime import datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID, uuid5

import pytest
from pydantic import ValidationError

from libs.contracts.enrolment import (
    Application,
    Revocation,
    application_signature_input,
    credential_id_of,
    is_confirmed_pin,
    revocation_signature_input,
)
from libs.contracts.ids import GPKI_NAMESPACE

APPLICATION = Application(
    application=UUID("11111111-2222-4333-8444-555555555555"),
    user="800101145566",
    name="Aminah binti Ismail",
    email="aminah@anm.example",
    office="AG-KL-01",
    algorithm="rsa-2048",
    sealed_pin_sha256="ab" * 32,
)
REVOCATION = Revocation(
    revocation=UUID("66666666-2222-4333-8444-555555555555"),
    credential_id=UUID("77777777-2222-4333-8444-555555555555"),
    reason="key-compromise",
    ordered_at=datetime(2026, 11, 23, 16, 0, tzinfo=timezone(timedelta(hours=8))),
)


def test_what_a_registrar_signs_for_an_application():
    canonical = (
        b'{"algorithm":"rsa-2048","application":"11111111-2222-4333-8444-555555555555","email":"aminah@anm.example",'
        b'"name":"Aminah binti Ismail","office":"AG-KL-01",'
        b'"sealed_pin_sha256":"' + b"ab" * 32 + b'","user":"800101145566"}'
    )
    assert application_signature_input(APPLICATION) == b"gpki.application-signature.v1" + sha256(canonical).digest()


def test_what_was_signed_before_the_pin_was_is_still_signed():
    before = APPLICATION.model_copy(update={"sealed_pin_sha256": None})
    canonical = (
        b'{"algorithm":"rsa-2048","application":"11111111-2222-4333-8444-555555555555","email":"aminah@anm.example",'
        b'"name":"Aminah binti Ismail","office":"AG-KL-01","user":"800101145566"}'
    )
    assert application_signature_input(before) == b"gpki.application-signature.v1" + sha256(canonical).digest()
    assert not is_confirmed_pin(before, b"")


def test_what_a_registrar_signs_for_a_revocation():
    """Times in UTC with Z, however they were given."""
    canonical = (
        b'{"credential_id":"77777777-2222-4333-8444-555555555555","ordered_at":"2026-11-23T08:00:00Z",'
        b'"reason":"key-compromise","revocation":"66666666-2222-4333-8444-555555555555"}'
    )
    assert revocation_signature_input(REVOCATION) == b"gpki.revocation-signature.v1" + sha256(canonical).digest()


def test_the_credential_is_known_before_it_exists():
    """UUIDv5 over "credential", unit separator, application id, in the platform's namespace."""
    expected = uuid5(GPKI_NAMESPACE, "credential\x1f11111111-2222-4333-8444-555555555555")
    assert credential_id_of(APPLICATION) == expected
    assert credential_id_of(APPLICATION.model_copy(update={"name": "Lain"})) == expected


@pytest.mark.parametrize("user", ["80010114556", "8001011455667", "80010114556x", "８00101145566", " 800101145566"])
def test_a_user_is_twelve_digits(user):
    with pytest.raises(ValidationError):
        Application.model_validate({**APPLICATION.model_dump(), "user": user})


def test_a_name_that_this_release_does_not_know_is_not_signed_over():
    with pytest.raises(ValidationError):
        Application.model_validate({**APPLICATION.model_dump(), "role": "pelulus"})
