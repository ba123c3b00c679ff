"""Certificates over the keys of tokens: what the registrar signed, one live per officer and medium."""

from cryptography import x509

from libs.contracts.enrolment import credential_id_of
from tests.integration.certificate_authority.conftest import Authority
from tests.support.applications import (
    application,
    certificate_requested,
    csr,
    revocation_requested,
    token_application,
    token_certificate_requested,
)
from tests.support.pki import p256_key, rsa_key


async def test_a_tokens_key_is_certified_beside_the_officers_roaming_key_and_revoked_by_itself(
    authority: Authority,
) -> None:
    """I-26: who moves has both for a moment; a second of the same medium there is not."""
    key, roaming = p256_key(), application()
    request, another = csr(key), csr(p256_key())
    wanted, second = token_application(roaming.user, request), token_application(roaming.user, another)
    topic = authority.routes.token_certificate_requested
    async with authority.running():
        await authority.room.send(
            authority.routes.certificate_requested, [certificate_requested(roaming, authority.registrar, rsa_key())]
        )
        await authority.certified(1)
        await authority.room.send(topic, [token_certificate_requested(wanted, authority.registrar, request)] * 3)
        states = {state.medium: state for state in await authority.certified(2)}
        await authority.room.send(topic, [token_certificate_requested(second, authority.registrar, another)])
        await authority.tap.until(authority.refusals, "the second is refused")
        await authority.room.send(
            authority.routes.revocation_requested, [revocation_requested(credential_id_of(wanted), authority.registrar)]
        )
        revoked = (await authority.certified(3))[-1]
    assert states["roaming-otp"].credential_id == credential_id_of(roaming)
    token = states["token"]
    assert (token.user, token.credential_id, token.status) == (roaming.user, credential_id_of(wanted), "good")
    assert x509.load_der_x509_certificate(token.certificate).public_key() == key.public_key()
    assert [refusal.application for refusal in authority.refusals()] == [second.application]
    assert (revoked.credential_id, revoked.medium, revoked.status) == (credential_id_of(wanted), "token", "revoked")


async def test_a_tokens_request_that_no_registrar_signed_ends_nothing(authority: Authority) -> None:
    request = csr(p256_key())
    wanted = token_application(request=request)
    event = token_certificate_requested(wanted, authority.registrar, request)
    topic = authority.routes.token_certificate_requested
    forged = [
        token_certificate_requested(wanted, authority.registrar, csr(p256_key())),
        event.model_copy(update={"signed": event.signed.model_copy(update={"signature": bytes(64)})}),
    ]
    async with authority.running():
        await authority.room.send(topic, forged)
        await authority.room.all_committed(topic, 2)
        assert await authority.issued() == 0
        await authority.room.send(topic, [event])
        (state,) = await authority.certified(1)
    assert state.medium == "token"
    assert sorted(authority.dead_letters(topic)) == ["csr-not-confirmed", "not-signed-by-two-administrators"]
    assert authority.refusals() == []
