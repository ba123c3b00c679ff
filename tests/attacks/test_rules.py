"""Attacks on rules that are judged by themselves: each is refused, and gets through once the one check is away.

What a running service makes of the answer is shown where docs/security.md says; here is that the rule alone decides.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from libs.bus import admission, producers
from libs.bus.admission import Forged, admit
from libs.bus.producers import Producers
from libs.bus.trust import key_trust, usable_key
from libs.contracts import topics
from libs.contracts.manifest import Manifest, signature_input
from libs.contracts.signing import DELIVERY_WITHIN, MediumResolved
from libs.crypto import crl, pki
from libs.crypto.challenge import Challenge
from libs.crypto.crl import CrlIndex, CrlInvalid
from libs.crypto.pki import RevokedCertificate
from libs.crypto.service_certificates import ServiceIdentity
from libs.crypto.signatures import verify
from libs.runtime.kafka_access import KafkaAccess
from services.certificate_authority import issuance
from services.certificate_authority.issuance import Refused, Unsigned, Wanted, judge
from services.hsm_signer import authorisation
from services.otp_dispatch import dispatch
from services.otp_dispatch.dispatch import Ready
from tests.attacks.malformed import request_of
from tests.support.applications import csr, token_application, token_certificate_requested
from tests.support.pki import EPOCH, Pki, p256_key
from tests.support.producers import Hands
from tests.support.requests import (
    Caller,
    document,
    documents,
    header,
    key_state,
    medium_resolved,
    new_user,
    requested,
    user_state,
)
from tests.unit.bus.test_producers import rejection
from tests.unit.certificate_authority.test_issuance import REGISTRAR, REGISTRARS
from tests.unit.hsm_signer import test_authorisation as of_signer
from tests.unit.otp_dispatch import test_dispatch as of_dispatch

NOBODY = KafkaAccess("nowhere:1", "nobody", SecretStr("x"))

defended = pytest.mark.parametrize("defence", ["on", "off"])


@pytest.fixture(scope="module")
def tree() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def caller(tree: Pki) -> Caller:
    return tree.caller()


def root_of(tree: Pki) -> bytes:
    return tree.service_root.certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def identity(tree: Pki, caller: Caller) -> ServiceIdentity:
    found = usable_key(key_state(caller, "caller", "igfmas", tree), root_of(tree), EPOCH)
    assert found is not None
    return found


def altered(event: MediumResolved, **entry: str) -> MediumResolved:
    """Its first document is another, under the caller's signature of before."""
    first, *others = event.signed.manifest.documents
    manifest = event.signed.manifest.model_copy(update={"documents": (replace(first, **entry), *others)})
    return event.model_copy(update={"signed": event.signed.model_copy(update={"manifest": manifest})})


@defended
@pytest.mark.parametrize("attack", ["another payee", "another request's manifest"])
def test_medium_lookup_has_no_code_sent_for_what_no_caller_asked(
    identity: ServiceIdentity, caller: Caller, monkeypatch: pytest.MonkeyPatch, defence: str, attack: str
) -> None:
    """I-18: the officer would be shown the attacker's documents, and sign them."""
    user = user_state(new_user())
    genuine = medium_resolved(header(user.user, 2), documents(2), caller, requested_at=EPOCH)
    if attack == "another payee":
        forged, check = altered(genuine, payee="Syarikat Lain"), "vouches"
    else:
        forged, check = genuine.model_copy(update={"request_id": uuid4()}), "_is_of"
    if defence == "off":
        monkeypatch.setattr(dispatch, check, lambda *_args, **_named: True)
    made = of_dispatch.judged(forged, identity, user)
    assert isinstance(made, Ready) == (defence == "off")
    if isinstance(made, Ready) and attack == "another payee":
        assert made.root == forged.signed.manifest.commitment().root != genuine.signed.manifest.commitment().root


@defended
def test_who_says_that_a_retired_key_asked_before_gets_a_code_for_as_long_as_one_may_take_and_no_longer(
    tree: Pki, caller: Caller, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-18: medium_lookup, compromised, with a caller's key that was stolen and replaced, names an earlier time."""
    retired = key_state(caller, "caller", "igfmas", tree, version=2, retired_at=EPOCH)
    user = user_state(new_user())
    backdated = medium_resolved(header(user.user), documents(1), caller, requested_at=EPOCH - timedelta(seconds=1))
    then = usable_key(retired, root_of(tree), backdated.requested_at)
    assert then is not None
    assert usable_key(retired, root_of(tree), EPOCH) is None

    def gets_a_code(now: datetime) -> bool:
        return isinstance(of_dispatch.judged(backdated, then, user, now=now, appended_at=now), Ready)

    if defence == "off":
        monkeypatch.setattr(dispatch, "_deadline", lambda _event, appended_at, _history: appended_at + DELIVERY_WITHIN)
    assert gets_a_code(EPOCH + DELIVERY_WITHIN - timedelta(seconds=2)), "for so long it is not defended"
    assert gets_a_code(EPOCH + DELIVERY_WITHIN) == (defence == "off")
    assert gets_a_code(EPOCH + timedelta(days=30)) == (defence == "off")


def any_name(identity: ServiceIdentity | None, *, caller: str, root: bytes, signature: bytes) -> bool:
    """`vouches` without the name of the caller in it."""
    return bool(caller) and identity is not None and verify(identity.public_key, signature, signature_input(root))


def anything(*_args: Any, **_named: Any) -> bool:
    return True


@defended
@pytest.mark.parametrize("attack", ["another caller's name", "another amount", "another key"])
def test_a_broker_writer_has_nothing_signed_that_no_caller_asked(
    tree: Pki, caller: Caller, identity: ServiceIdentity, monkeypatch: pytest.MonkeyPatch, defence: str, attack: str
) -> None:
    """I-18: the first who judges, for all who come after."""
    off: Callable[..., bool] = anything
    if attack == "another caller's name":
        event, off = requested(header(new_user(), caller="another"), documents(1), caller), any_name
    elif attack == "another amount":
        event = requested(header(new_user()), documents(1), caller)
        changed = event.manifest.model_copy(update={"documents": (document(0, amount="99999.00"),)})
        event = event.model_copy(update={"manifest": changed})
    else:
        event = requested(header(new_user()), documents(1), tree.caller())
    if defence == "off":
        monkeypatch.setattr(admission, "vouches", off)
    made = admit(event, identity)
    assert isinstance(made, Manifest) if defence == "off" else made == Forged()


@pytest.mark.parametrize("purpose", ["caller", "registrar", "producer"])
def test_a_key_under_another_root_is_believed_where_that_root_is_pinned(tree: Pki, purpose: str) -> None:
    """I-17: whoever writes `gpki.keys.v1` has authorities of his own, and every name that he likes."""
    theirs = Pki()
    made = {"caller": theirs.caller, "registrar": theirs.registrar, "producer": theirs.producer}[purpose]
    name = {"caller": "igfmas", "registrar": "mygpki", "producer": "otp_dispatch"}[purpose]
    forged = key_state(made(name), purpose, name, theirs)
    assert not key_trust(root_of(tree), lambda: EPOCH)(forged)
    assert usable_key(forged, root_of(tree), EPOCH) is None
    assert key_trust(root_of(theirs), lambda: EPOCH)(forged)
    assert usable_key(forged, root_of(theirs), EPOCH) is not None


@pytest.fixture(scope="module")
def hands(tree: Pki) -> Hands:
    return Hands(tree)


def known(tree: Pki, hands: Hands) -> Producers:
    """Who has read the keys' topic."""
    found = Producers(NOBODY, root_of(tree))
    found.learn(hands.keys())
    return found


@defended
@pytest.mark.parametrize("attack", ["altered after it was signed", "by a service that does not produce it"])
def test_no_service_s_key_and_no_broker_writer_ends_a_request(
    tree: Pki, hands: Hands, monkeypatch: pytest.MonkeyPatch, defence: str, attack: str
) -> None:
    """I-38."""
    judges, topic = known(tree, hands), topics.REJECTED
    if attack == "altered after it was signed":
        genuine = hands.event(topic, rejection(), by="posting")
        forged = replace(genuine, value=genuine.value.replace(b"BB1", b"BB2"))
        assert forged != genuine
        if defence == "off":
            monkeypatch.setattr(producers, "verify", anything)
    else:
        forged = hands.event(topic, rejection(), by="gateway")
        if defence == "off":
            topic = replace(topic, producers=(*topic.producers, "gateway"))
    why = judges.judge(topic, forged, EPOCH)
    assert why is None if defence == "off" else str(why).startswith("producer signature: ")


@defended
def test_no_service_but_the_authority_makes_producers(
    tree: Pki, hands: Hands, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-38: a compromised gateway brings back the key of otp_dispatch that was replaced when it was stolen."""
    judges, stolen = known(tree, hands), hands.of("otp_dispatch")
    state = key_state(stolen, "producer", "otp_dispatch", tree)
    retired = state.model_copy(update={"version": 2, "retired_at": EPOCH - timedelta(hours=1)})
    judges.learn([hands.event(topics.KEYS, retired, by=producers.KEY_PUBLISHER)])
    code = hands.event(topics.REJECTED, rejection(), by="otp_dispatch")
    assert judges.judge(topics.REJECTED, code, EPOCH) == "producer signature: the key was replaced"
    if defence == "off":
        monkeypatch.setattr(producers, "KEY_PUBLISHER", "gateway")
    judges.learn([hands.event(topics.KEYS, state.model_copy(update={"version": 3}), by="gateway")])
    assert (judges.judge(topics.REJECTED, code, EPOCH) is None) == (defence == "off")


@defended
@pytest.mark.parametrize("field", ["request_id", "user", "credential_id", "root"])
def test_a_right_code_of_another_challenge_is_none(monkeypatch: pytest.MonkeyPatch, defence: str, field: str) -> None:
    """I-12: of another request, officer, credential or other documents; the code itself is right, and in time."""
    other: Any = {"root": b"\x02" * 32, "user": "700101011234"}.get(field, str(uuid4()))
    borrowed = replace(of_signer.challenge(), **{field: other})
    if defence == "off":
        monkeypatch.setattr(authorisation, "_is_about", anything)
    assert isinstance(of_signer.judge(borrowed), Challenge) == (defence == "off")


def unproved(der: bytes) -> Any:
    """The key of a request, whoever made it."""
    return x509.load_der_x509_csr(der).public_key()


@defended
@pytest.mark.parametrize("attack", ["another's key", "another request than was confirmed"])
def test_nobody_is_certified_for_a_key_that_is_not_the_confirmed_token_s(
    monkeypatch: pytest.MonkeyPatch, defence: str, attack: str
) -> None:
    """KEY-7: who applies with another's public key; who is enrolment, and puts an own request for the officer's."""
    key, officers_key = p256_key(), p256_key().public_key()
    theirs = officers_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    officers, own, mixed = csr(p256_key()), csr(key), request_of(key, public=theirs)
    refused: type[Refused | Unsigned] = Unsigned
    if attack == "another's key":
        wanted, sent, refused = token_application(request=mixed), mixed, Refused
        if defence == "off":
            monkeypatch.setattr(pki, "requested_key", unproved)
    else:
        wanted, sent = token_application(request=officers), own
        if defence == "off":
            monkeypatch.setattr(issuance, "_unsigned", lambda *_: None)
    made = judge(token_certificate_requested(wanted, REGISTRAR, sent), REGISTRARS)
    assert isinstance(made, Wanted if defence == "off" else refused)


@defended
def test_who_answers_for_the_crl_server_takes_no_revocation_back(
    tree: Pki, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-19: a list of the same name and number without the entry, by a key of the attacker's own."""
    issuer = tree.issuing.certificate.public_bytes(Encoding.DER)
    genuine = tree.crl(revoked=[RevokedCertificate(77, EPOCH)])
    assert CrlIndex.parse(genuine, issuer).status(77)
    name, key_id = tree.issuing.certificate.subject, tree.issuing.certificate.extensions
    empty = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name)
        .last_update(EPOCH)
        .next_update(EPOCH + timedelta(days=1))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                key_id.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .add_extension(x509.CRLNumber(99), critical=False)
        .sign(p256_key(), SHA256())
        .public_bytes(Encoding.DER)
    )
    if defence == "off":
        monkeypatch.setattr(crl, "_check_signature", lambda *_: None)
        assert CrlIndex.parse(empty, issuer).status(77) is None
        return
    with pytest.raises(CrlInvalid, match=r"^signature$"):
        CrlIndex.parse(empty, issuer)
