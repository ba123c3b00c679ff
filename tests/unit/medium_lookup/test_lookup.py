"""The rule of medium_lookup: every refusal, and that nothing is believed before the signature."""

from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.admission import Forged, Refused, admit
from libs.bus.trust import usable_key
from libs.contracts.manifest import MAX_DOCUMENTS, Header, Manifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import Medium
from libs.contracts.state import Certificate, User
from libs.contracts.token_route import MAX_TOKEN_DOCUMENTS
from libs.crypto.service_certificates import ServiceIdentity
from services.medium_lookup.lookup import NotYetKnown, Resolved, resolve
from tests.support.pki import EPOCH, Pki
from tests.support.requests import (
    Caller,
    certificate_state,
    document,
    documents,
    header,
    key_state,
    new_user,
    requested,
    user_state,
)

MEDIA = frozenset(get_args(Medium))


def looked_up(
    head: Header, user: User | None, certificates: dict[UUID, Certificate]
) -> Resolved | Refused | NotYetKnown:
    """The answer where every medium may be signed with."""
    return resolve(head, user, certificates, MEDIA)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def caller(pki: Pki) -> Caller:
    return pki.caller()


@pytest.fixture(scope="module")
def identity(pki: Pki, caller: Caller) -> ServiceIdentity:
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    found = usable_key(key_state(caller, "caller", "igfmas", pki), root, EPOCH)
    assert found is not None
    return found


def test_a_rightly_signed_manifest_is_admitted_as_it_is(caller: Caller, identity: ServiceIdentity) -> None:
    head = header(new_user(), 3)
    event = requested(head, documents(3), caller)
    admitted = admit(event, identity)
    assert isinstance(admitted, Manifest)
    assert admitted.commitment().root == event.commitment.root


def test_an_unknown_key_speaks_for_nobody(caller: Caller) -> None:
    assert admit(requested(header(new_user()), documents(1), caller), None) == Forged()


def test_a_caller_cannot_speak_for_another(caller: Caller, identity: ServiceIdentity) -> None:
    event = requested(header(new_user(), caller="another"), documents(1), caller)
    assert admit(event, identity) == Forged()


@pytest.mark.parametrize("change", [{"amount": "9.00"}, {"payee": "Orang lain"}, {"extra": ""}], ids=str)
def test_what_was_changed_after_the_signature_is_forged(
    caller: Caller, identity: ServiceIdentity, change: dict[str, str]
) -> None:
    """I-18."""
    event = requested(header(new_user()), documents(1), caller)
    changed = event.manifest.model_copy(update={"documents": (document(0, **change),)})
    assert admit(event.model_copy(update={"manifest": changed}), identity) == Forged()


def test_the_signature_is_judged_before_anything_else_is_answered(caller: Caller, identity: ServiceIdentity) -> None:
    """Else anybody could end another's request by its id."""
    event = requested(header(new_user(), system="other"), [document(1), document(1)], caller)
    assert admit(event.model_copy(update={"signature": b"x" * 64}), identity) == Forged()


def test_a_caller_may_only_speak_for_the_system_of_its_key(caller: Caller, identity: ServiceIdentity) -> None:
    refused = admit(requested(header(new_user(), system="eSPKWS"), documents(1), caller), identity)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CALLER_NOT_ALLOWED
    assert refused.header is not None


@pytest.mark.parametrize(("named", "admitted"), [((), True), (("AG-KL-01", "AG-JB-02"), True), (("AG-JB-02",), False)])
def test_a_caller_may_only_name_the_offices_of_its_certificate_if_it_names_any(
    pki: Pki, named: tuple[str, ...], admitted: bool
) -> None:
    limited = pki.caller(offices=named)
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    known = usable_key(key_state(limited, "caller", "igfmas", pki), root, EPOCH)
    assert known is not None
    assert known.offices == frozenset(named)
    found = admit(requested(header(new_user(), office="AG-KL-01"), documents(1), limited), known)
    assert isinstance(found, Manifest) is admitted
    if isinstance(found, Refused):
        assert found.reason is Reason.CALLER_NOT_ALLOWED
        assert "office" in found.detail


def test_the_same_document_twice_is_refused(caller: Caller, identity: ServiceIdentity) -> None:
    listed = [document(1), document(2), document(1, amount="7.00")]
    refused = admit(requested(header(new_user(), 3), listed, caller), identity)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DOCUMENT_DUPLICATE


def test_more_documents_than_a_request_may_hold_are_refused(caller: Caller, identity: ServiceIdentity) -> None:
    count = MAX_DOCUMENTS + 1
    refused = admit(requested(header(new_user(), count), documents(count), caller), identity)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TOO_MANY_DOCUMENTS


@pytest.mark.parametrize(
    ("head", "entry", "detail"),
    [
        ({"count": "2"}, {}, "value_error"),
        ({"count": "01"}, {}, "header.count: string_pattern_mismatch"),
        ({"user": "12345"}, {}, "header.user: string_pattern_mismatch"),
        ({"action": "hapus"}, {}, "header.action: literal_error"),
        ({"kanari": "1"}, {}, "header.(unknown name): extra_forbidden"),
        ({}, {"amount": "1.5"}, "documents.0.amount: string_pattern_mismatch"),
        ({}, {"amount": "-1.50"}, "documents.0.amount: string_pattern_mismatch"),
        ({}, {"title": "line\nfeed"}, "documents.0.title: string_pattern_mismatch"),
        ({}, {"title": "last line feed\n"}, "documents.0.title: string_pattern_mismatch"),
        ({}, {"payee": "\u202ereversed"}, "documents.0.payee: string_pattern_mismatch"),
        ({}, {"sha256": "AA" * 32}, "documents.0.sha256: string_pattern_mismatch"),
        ({}, {"kanari": "1"}, "documents.0.(unknown name): extra_forbidden"),
    ],
    ids=str,
)
def test_a_manifest_outside_its_contract_is_refused_and_not_repeated(
    caller: Caller, identity: ServiceIdentity, head: dict[str, str], entry: dict[str, str], detail: str
) -> None:
    refused = admit(requested(header(new_user(), **head), [document(1, **entry)], caller), identity)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.MANIFEST_INVALID
    assert detail in refused.detail
    assert "kanari" not in refused.detail
    assert (refused.header is None) == bool(head.keys() - {"count"} or head.get("count") == "01")


def test_a_registered_user_with_a_good_certificate_signs_by_roaming() -> None:
    user = user_state(new_user(), channels=("gpki-mobile", "e-mail"))
    assert user.credential_id is not None
    found = looked_up(_head(user.user), user, {user.credential_id: certificate_state(user)})
    assert found == Resolved("roaming-otp", user.credential_id, ("gpki-mobile", "e-mail"))


def test_a_registered_user_with_a_token_signs_by_token_up_to_its_most_documents() -> None:
    user = user_state(new_user(), medium="token", channels=())
    assert user.credential_id is not None
    certificates = {user.credential_id: certificate_state(user)}
    most, more = (_head(user.user, count) for count in (MAX_TOKEN_DOCUMENTS, MAX_TOKEN_DOCUMENTS + 1))
    assert looked_up(most, user, certificates) == Resolved("token", user.credential_id, ())
    assert looked_up(more, user, certificates) == Refused(Reason.TOO_MANY_DOCUMENTS, more)


def test_a_roaming_user_may_sign_more_than_a_token_may() -> None:
    user = user_state(new_user())
    assert user.credential_id is not None
    found = looked_up(_head(user.user, MAX_TOKEN_DOCUMENTS + 1), user, {user.credential_id: certificate_state(user)})
    assert isinstance(found, Resolved)


@pytest.mark.parametrize(
    ("of_user", "of_certificate", "reason"),
    [
        ({"medium": "token"}, {}, Reason.CERTIFICATE_MISMATCH),
        ({}, {"user": "999999999999"}, Reason.CERTIFICATE_MISMATCH),
        ({}, {"medium": "token"}, Reason.CERTIFICATE_MISMATCH),
    ],
    ids=str,
)
def test_a_user_who_cannot_sign_is_told_why(
    of_user: dict[str, Any], of_certificate: dict[str, Any], reason: Reason
) -> None:
    registered = user_state(new_user())
    user = registered.model_copy(update=of_user)
    assert registered.credential_id is not None
    certificates = {registered.credential_id: certificate_state(registered, **of_certificate)}
    head = _head(user.user)
    assert looked_up(head, user, certificates) == Refused(reason, head)


def test_what_our_copy_does_not_have_yet_is_not_a_no() -> None:
    user = user_state(new_user(), credential_id=uuid4())
    assert looked_up(_head(user.user), None, {}) == NotYetKnown(Reason.USER_UNKNOWN)
    assert looked_up(_head(user.user), user, {}) == NotYetKnown(Reason.CERTIFICATE_UNKNOWN)
    by_token = user.model_copy(update={"medium": "token"})
    assert looked_up(_head(user.user), by_token, {}) == NotYetKnown(Reason.CERTIFICATE_UNKNOWN)
    uncertified = user.model_copy(update={"credential_id": None})
    assert looked_up(_head(user.user), uncertified, {}) == NotYetKnown(Reason.USER_HAS_NO_CERTIFICATE)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("revoked", Reason.CERTIFICATE_REVOKED), ("suspended", Reason.CERTIFICATE_SUSPENDED)],
    ids=str,
)
def test_a_certificate_that_our_copy_calls_ended_may_have_been_followed_by_another(status: str, reason: Reason) -> None:
    user = user_state(new_user())
    assert user.credential_id is not None
    certificates = {user.credential_id: certificate_state(user, status=status)}
    assert looked_up(_head(user.user), user, certificates) == NotYetKnown(reason)


def _head(user: str, count: int = 1) -> Header:
    return Header.model_validate(header(user, count))


@pytest.mark.parametrize("medium", MEDIA)
def test_a_medium_that_is_no_longer_signed_with_is_refused_and_no_other(medium: Medium) -> None:
    user = user_state(new_user(), medium=medium)
    assert user.credential_id is not None
    head, certificates = _head(user.user), {user.credential_id: certificate_state(user)}
    assert resolve(head, user, certificates, MEDIA - {medium}) == Refused(Reason.MEDIUM_UNSUPPORTED, head)
    assert isinstance(resolve(head, user, certificates, {medium}), Resolved)
