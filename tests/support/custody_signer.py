"""One signer that makes, keeps and uses keys, on the real stack and a real token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.bus import Bus
from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from libs.runtime.executor import Offload
from libs.storage import state
from libs.storage.migrations import migrate
from services.hsm_signer import handlers
from services.hsm_signer.app import MIGRATIONS
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.challenge_producers import ChallengeProducers
from services.hsm_signer.custody import Custody, Protection
from services.hsm_signer.key_requests import KeyRequests
from services.hsm_signer.lanes import Lane
from services.hsm_signer.pin_changes import PinChanges
from services.hsm_signer.sealing_keys import SealingKeys
from services.hsm_signer.signing import Signing
from services.hsm_signer.unlocking import Unlocking
from tests.integration.hsm.softhsm import ensure_wrapping_key
from tests.integration.hsm_signer.conftest import KEPT, LIFETIME, sealing_authority
from tests.support.bus import open_room
from tests.support.custody import CHEAP, Cabinet, Signer
from tests.support.pki import Pki
from tests.support.requests import key_state
from tests.support.stack import Stack


@asynccontextmanager
async def open_cabinet(stack: Stack, hsm: Hsm, pki: Pki) -> AsyncIterator[Cabinet]:
    """Keys in the token, a sealing key, two registrars, a caller, otp_dispatch's key, and one signer that runs."""
    protection = Protection(parameters=CHEAP)
    await ensure_wrapping_key(hsm, protection.wrapping_key)
    await hsm.ensure_mac_key(protection.pepper)
    authority = await sealing_authority(hsm, pki)
    service_root = pki.service_root.certificate.public_bytes(Encoding.DER)
    registrar, caller, producer = pki.registrar(), pki.caller(), pki.producer()
    administrators = pki.registrar("pentadbir-1"), pki.registrar("pentadbir-2")
    own = [
        stack.own(topic)
        for topic in (
            topics.KEY_REQUESTED,
            topics.CERTIFICATE,
            topics.AUTHORISATION_SUBMITTED,
            topics.PIN_CHANGE_SUBMITTED,
            topics.PIN_UNLOCK_ORDERED,
        )
    ]
    key_requested, certificate, submitted, pin_change_submitted, pin_unlock_ordered = own
    told = (
        topics.CERTIFICATE_REQUESTED,
        topics.APPLICATION_REFUSED,
        topics.SIGNED,
        topics.AUTHORISATION_FAILED,
        topics.PIN_ANSWERED,
        topics.REJECTED,
    )
    others = (topics.PROGRESSED, topics.WAITING)
    await create_topics(stack.kafka, topics=[*own, *told, *others])
    async with open_room(stack) as room:
        room.owns(*own)
        await migrate(room.pool, [MIGRATIONS])
        sealing_keys = SealingKeys(hsm, room.pool, authority, lifetime=LIFETIME, kept=KEPT)
        new = await sealing_keys.make(utc_now())
        known = [
            key_state(registrar, "registrar", "mygpki", pki),
            key_state(pki.validator(), "registrar", "mygpki-pengesah", pki),
            key_state(caller, "caller", "igfmas", pki),
            key_state(producer, "producer", "otp_dispatch", pki),
            *(key_state(one, "registrar", name_of(one), pki) for one in administrators),
        ]
        async with room.pool.acquire() as connection, connection.transaction():
            await sealing_keys.rotate(connection, new, utc_now())
            await state.put_keys(connection, known)
        await sealing_keys.private_key(new.key_id)  # opened now: a test's HSM may do something else later
        with closing(Offload(workers=1, backlog=8, name="argon2")) as offload:
            custody, lane = Custody(hsm, offload, protection), Lane(utc_now)
            producers = ChallengeProducers(room.pool, service_root, utc_now)
            authoriser = Authoriser(custody, sealing_keys, producers, service_root, utc_now)
            signing = Signing(custody, utc_now, lane)

            def replica() -> Bus:
                bus = room.bus()
                bus.state({certificate: handlers.keep_certificates(service_root)})
                bus.consume(
                    {
                        key_requested: KeyRequests(custody, sealing_keys, service_root).handle,
                        pin_change_submitted: PinChanges(custody, sealing_keys, utc_now).handle,
                        pin_unlock_ordered: Unlocking(service_root).handle,
                    },
                    lane="enrolment",
                )
                bus.consume({submitted: handlers.authorisations(authoriser, signing, offload, lane, bulk=False)})
                return bus

            cabinet = Cabinet(
                room=room,
                pki=pki,
                hsm=hsm,
                custody=custody,
                sealing_keys=sealing_keys,
                registrar=registrar,
                caller=caller,
                producer=producer,
                key_requested=key_requested,
                certificate=certificate,
                submitted=submitted,
                pin_change_submitted=pin_change_submitted,
                pin_unlock_ordered=pin_unlock_ordered,
                administrators=administrators,
                tap=await room.tap(*own, *told),
                replica=replica,
            )
            await cabinet.start()
            try:
                yield cabinet
            finally:
                await cabinet.stop()


def name_of(identity: Signer) -> str:
    """Whose certificate it is."""
    (name,) = identity.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)
