"""CRLs: believed by their signature and number, waited for without end, kept over restarts."""

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Verified
from libs.crypto.crl import CrlIndex
from libs.crypto.pki import RevokedCertificate
from libs.runtime import metrics
from services.crl_verifier import store
from services.crl_verifier.download import Fetched
from tests.integration.crl_verifier.conftest import Verifier
from tests.support.documents import fresh_ids, signed
from tests.support.pki import Pki, p256_key
from tests.support.waiting import eventually

NEWEST = 10**6
"""A CRL number above all that a test's PKI gives by itself."""


def alarms(name: str) -> float:
    return float(metrics.ALARMS.labels("crl_verifier", name)._value.get())


async def another_alarm(name: str) -> None:
    seen = alarms(name)
    await eventually(lambda: alarms(name) > seen, "an alarm")


async def asked_again(verifier: Verifier, path: str = "/issuing.crl", times: int = 2) -> None:
    """Wait until the CRL was asked for again, and the answer has been dealt with."""
    before = len([1 for asked, _ in verifier.server.answered if asked == path])
    await eventually(
        lambda: len([1 for asked, _ in verifier.server.answered if asked == path]) >= before + times, "asked again"
    )


async def test_a_revocation_in_the_crl_counts_without_any_event(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        entry = RevokedCertificate(
            who.identity.certificate.serial_number, verifier.pki.now, x509.ReasonFlags.key_compromise
        )
        verifier.server.serve(*verifier.crls(revoked=[entry], number=NEWEST))

        async def kept() -> bool:
            return NEWEST in await verifier.numbers()

        await eventually(kept, "the new CRL kept")
        await asked_again(verifier)
        documents = signed(who)
        await verifier.wire.send(topics.SIGNED, documents)
        [answer] = await verifier.answers(documents)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_REVOKED


async def test_after_a_lifting_documents_wait_for_the_crl_without_the_hold(verifier: Verifier):
    """I-53, I-19: the state is ahead of the CRL, which a record would name; the CRL is looked for at once."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        serial = who.identity.certificate.serial_number
        hold = RevokedCertificate(serial, verifier.pki.now, x509.ReasonFlags.certificate_hold)
        verifier.server.serve(*verifier.crls(revoked=[hold], number=NEWEST))

        async def kept() -> bool:
            return NEWEST in await verifier.numbers()

        await eventually(kept, "the CRL with the hold kept")
        await asked_again(verifier)
        await verifier.tell(who, status="suspended")
        refused = signed(who)
        await verifier.wire.send(topics.SIGNED, refused)
        [answer] = await verifier.answers(refused)
        await verifier.tell(who, status="good")
        waiting = signed(who)
        await verifier.wire.send(topics.SIGNED, waiting)
        await verifier.parked(waiting, "crl-stale")
        verifier.server.serve(*verifier.crls(number=NEWEST + 1))
        [verified] = await verifier.answers(waiting)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_SUSPENDED
    assert isinstance(verified, Verified)
    assert NEWEST + 1 in {crl.number for crl in verified.crls}


async def test_with_a_stale_crl_documents_wait_and_are_verified_when_a_fresh_one_comes(verifier: Verifier):
    """I-19."""
    verifier.server.serve(*verifier.stale())
    async with verifier.start() as health:
        who = await verifier.officer()
        documents = signed(who, fresh_ids(3))
        await verifier.wire.send(topics.SIGNED, documents)
        await verifier.parked(documents, "crl-stale")
        await eventually(lambda: not health.ready, "not ready")
        tries = "select min(tries) from due where request_id = $1"
        await verifier.wire.tap.until(
            lambda: verifier.database.fetchval(tries, documents[0].request_id), "looked at again, and waits on"
        )
        assert not verifier.verified(documents[0].request_id)
        assert not verifier.rejected(documents[0].request_id)
        verifier.server.serve(*verifier.crls())
        answers = await verifier.answers(documents)
        await eventually(lambda: health.ready, "the CRL is current")
    for answer in answers:
        assert isinstance(answer, Verified)
        assert answer.verified_at - answer.signed_at > timedelta(seconds=4)


async def test_without_any_crl_documents_wait_but_revocation_by_state_is_a_no(verifier: Verifier):
    """I-19."""
    verifier.server.status = 503
    verifier.server.files = {"/root.crl": b"x", "/issuing.crl": b"x"}
    async with verifier.start():
        good, revoked = await verifier.officer(), await verifier.officer()
        await verifier.tell(revoked, status="revoked")
        waiting, refused = signed(good), signed(revoked)
        await verifier.wire.send(topics.SIGNED, waiting + refused)
        [answer] = await verifier.answers(refused)
        await verifier.parked(waiting, "crl-missing")
        verifier.server.serve(*verifier.crls())
        assert isinstance((await verifier.answers(waiting))[0], Verified)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_REVOKED


async def test_the_last_good_crl_is_enough_for_a_restart_without_the_server(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        await verifier.wire.tap.until(verifier.numbers, "kept")
        await asked_again(verifier)
    verifier.server.status = 500
    async with verifier.start():
        documents = signed(await verifier.officer())
        await verifier.wire.send(topics.SIGNED, documents)
        assert isinstance((await verifier.answers(documents))[0], Verified)


async def test_a_crl_that_its_authority_did_not_sign_is_refused_with_an_alarm(verifier: Verifier):
    root, issuing = verifier.crls()
    verifier.server.serve(root, issuing)
    async with verifier.start():
        who = await verifier.officer()
        await asked_again(verifier)
        numbers, before = await verifier.numbers(), alarms("crl-invalid")
        entry = RevokedCertificate(who.identity.certificate.serial_number, verifier.pki.now)
        forger = Pki(now=verifier.pki.now, root_key=verifier.pki.root_key, issuing_key=p256_key())
        genuine = verifier.pki.crl(revoked=[entry])
        for forged in (forger.crl(revoked=[entry], number=999), genuine[:-1] + bytes([genuine[-1] ^ 1]), b"rubbish"):
            verifier.server.serve(root, forged)
            await another_alarm("crl-invalid")
        documents = signed(who)
        await verifier.wire.send(topics.SIGNED, documents)
        assert isinstance((await verifier.answers(documents))[0], Verified)
        assert await verifier.numbers() == numbers
    assert alarms("crl-invalid") >= before + 3


async def test_a_crl_older_than_one_seen_is_refused_with_an_alarm_also_after_a_restart(verifier: Verifier):
    before_revocation = verifier.pki.crl()
    root = verifier.pki.crl(verifier.pki.root)
    async with verifier.start():
        who = await verifier.officer()
        entry = RevokedCertificate(who.identity.certificate.serial_number, verifier.pki.now)
        verifier.server.serve(root, verifier.pki.crl(revoked=[entry]))
        await verifier.wire.tap.until(verifier.numbers, "kept")
        await asked_again(verifier)
    for _ in range(2):
        async with verifier.start():
            verifier.server.serve(root, before_revocation)
            await another_alarm("crl-older-than-seen")
            documents = signed(who)
            await verifier.wire.send(topics.SIGNED, documents)
            [answer] = await verifier.answers(documents)
            assert isinstance(answer, Rejected)
            assert answer.reason is Reason.CERTIFICATE_REVOKED


async def test_replicas_share_one_memory_and_keep_the_newest(verifier: Verifier):
    key_id = b"of no authority"
    issuer = verifier.pki.issuing.certificate.public_bytes(Encoding.DER)

    async def keep(number: int) -> bool:
        der = verifier.pki.crl(number=number)
        return await store.keep(verifier.database, key_id, Fetched(der, None, None), CrlIndex.parse(der, issuer))

    async with verifier.start():
        assert [await keep(number) for number in (2**100, 2**100 - 1, 2**100, 2**100 + 1)] == [True, False, True, True]
        kept = await store.load(verifier.database, key_id)
    assert kept is not None
    assert CrlIndex.parse(kept.der, issuer).number == 2**100 + 1


async def test_an_unchanged_crl_is_asked_for_with_a_condition_and_not_sent_again(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        await asked_again(verifier, times=3)
    assert [status for path, status in verifier.server.answered if path == "/issuing.crl"][:3] == [200, 304, 304]


async def test_a_server_that_hangs_delays_no_document_for_long(verifier: Verifier):
    verifier.server.hanging.set()
    async with verifier.start():
        documents = signed(await verifier.officer(), fresh_ids(60))
        await verifier.wire.send(topics.SIGNED, documents)
        await verifier.parked(documents, "crl-missing")
