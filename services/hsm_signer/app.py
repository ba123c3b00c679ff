"""The wiring of hsm_signer."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.projection import project_keys, project_users
from libs.bus.service import service_bus, start_timers
from libs.bus.trust import key_trust, read_service_root
from libs.bus.unread import unread
from libs.contracts import topics
from libs.hsm.settings import open_hsm
from libs.runtime.background import beside
from libs.runtime.executor import Offload
from libs.runtime.health import Health
from services.hsm_signer import custody_keys, handlers, proof, store
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.challenge_producers import ChallengeProducers
from services.hsm_signer.custody import Custody
from services.hsm_signer.genuine import by_signature, read_issuing
from services.hsm_signer.history import History
from services.hsm_signer.hsm import HSM, hsm_unavailable
from services.hsm_signer.init import SEALING_AUTHORITY
from services.hsm_signer.key_requests import KeyRequests
from services.hsm_signer.lanes import Lane
from services.hsm_signer.not_me import not_me
from services.hsm_signer.pin_changes import PinChanges
from services.hsm_signer.refusal import CANCELLING
from services.hsm_signer.sealing_keys import AUTHORITY_KEY, SealingKeys, authority_key, authority_key_id
from services.hsm_signer.settings import Settings
from services.hsm_signer.signing import Signing
from services.hsm_signer.unlocking import Unlocking

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

INTERACTIVE, BULK = "interactive", "bulk"
"""The lanes of authorisations."""

BACKLOG = 64
"""Calls that wait for a thread. Argon2id has one, since each has 7 MiB while it is worked, and roots of long manifests
another, so that no PIN waits behind them; the HSM has its own."""


def unread_submissions(settings: Settings) -> handlers.Unread:
    """What `expiry` asks, of both lanes."""
    lanes = {INTERACTIVE: topics.AUTHORISATION_SUBMITTED, BULK: topics.AUTHORISATION_SUBMITTED_BULK}

    async def ask(requests: Collection[UUID], before: datetime) -> set[UUID]:
        keys = {str(request).encode(): request for request in requests}
        found = [
            await unread(settings.kafka, f"{settings.service}.{lane}", topic, keys, before)
            for lane, topic in lanes.items()
        ]
        return {keys[key] for key in set().union(*found)}

    return ask


@asynccontextmanager
async def serve(settings: Settings, health: Health) -> AsyncIterator[None]:
    """Run the signer until left."""
    stretching = Offload(workers=1, backlog=BACKLOG, name="argon2")
    hashing = Offload(workers=1, backlog=BACKLOG, name="roots")

    async def ask_hsm() -> None:
        with hsm_unavailable():
            await hsm.hmac_sha256(settings.pepper, b"probe")

    try:
        async with (
            open_hsm(settings) as hsm,
            service_bus(
                settings, health, [MIGRATIONS], probes={HSM: ask_hsm}, token_key=await authority_key_id(hsm)
            ) as (pool, bus),
        ):
            assert bus.producers is not None
            service_root = read_service_root(settings.pki_dir)
            pem = (settings.pki_dir / SEALING_AUTHORITY).read_bytes()
            chain = tuple(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(pem))
            sealing_keys = SealingKeys(
                hsm, pool, chain, lifetime=settings.sealing_key_lifetime, kept=settings.sealing_key_kept
            )
            history = History(pool, settings.kafka, by_signature(bus.producers, read_issuing(settings.pki_dir)))
            await history.wait(settings.service, health)
            custody = Custody(hsm, stretching, settings.protection)
            async with pool.acquire() as connection:
                await custody_keys.know(connection, hsm, settings.protection)
                last_worked = await store.last_taken(connection)
            interactive, bulk = Lane(bus.clock, last_worked), Lane(bus.clock, last_worked)
            authoriser = Authoriser(
                custody,
                sealing_keys,
                ChallengeProducers(pool, service_root, bus.clock),
                service_root,
                bus.clock,
                reserve_within=settings.reserve_within,
            )
            signing = Signing(custody, bus.clock, interactive)

            bus.state(
                {
                    topics.USER: project_users,
                    topics.CERTIFICATE: handlers.keep_certificates(service_root),
                    topics.KEYS: project_keys(key_trust(service_root, bus.clock)),
                }
            )
            bus.consume(
                {
                    topics.MEDIUM_RESOLVED: handlers.medium_resolved,
                    topics.OTP_DISPATCHED: handlers.otp_dispatched(settings.reserve_within),
                    topics.CANCEL_REQUESTED: CANCELLING.requested,
                    topics.NOT_ME: not_me,
                },
                max_records=25,
            )
            bus.consume(
                {
                    topics.AUTHORISATION_SUBMITTED: handlers.authorisations(
                        authoriser, signing, hashing, interactive, bulk=False
                    )
                },
                lane=INTERACTIVE,
                max_records=25,
            )
            bus.consume(
                {
                    topics.AUTHORISATION_SUBMITTED_BULK: handlers.authorisations(
                        authoriser, signing, hashing, bulk, bulk=True
                    )
                },
                lane=BULK,
                max_records=1,
            )
            bus.consume(
                {
                    topics.KEY_REQUESTED: KeyRequests(custody, sealing_keys, service_root).handle,
                    topics.PIN_CHANGE_SUBMITTED: PinChanges(custody, sealing_keys, bus.clock).handle,
                    topics.PIN_UNLOCK_ORDERED: Unlocking(service_root).handle,
                },
                lane="enrolment",
                max_records=25,
            )
            bus.timer(handlers.EXPIRY, handlers.expiry(bus.clock, unread_submissions(settings)))
            bus.timer(handlers.ROTATION, handlers.rotation(sealing_keys, bus.clock))
            await start_timers(pool, settings.service, bus.clock, [(handlers.ROTATION, handlers.Rotation())])
            health.expect(HSM)
            async with (
                beside(proof.watch(hsm, AUTHORITY_KEY, authority_key(chain), health)),
                beside(history.watch(settings.service, health)),
                bus,
            ):
                yield
    finally:
        stretching.close()
        hashing.close()
