"""Attacks on the seal of PIN and OTP: forged sealing certificates, old keys, replayed blobs, a database that is read.

Each attack is made twice: against the defence, and with the defence away, where it succeeds.
"""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, ObjectClass

from libs.bus.trust import key_trust
from libs.contracts.cloudevents import encode
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationSubmitted, MediumResolved, SealedChallenge
from libs.contracts.state import Key, User
from libs.crypto.challenge import make_challenge, seal_challenge
from libs.crypto.sealing import PURPOSE_AUTHORISATION, PURPOSE_CHALLENGE, SealError, open_sealed, seal, sealing_info
from libs.crypto.secrets import Secrets
from libs.gpki_client import CertificateError, SealingKey
from libs.hsm.token_session import TokenSession
from libs.runtime.clock import utc_now
from libs.storage import state
from services.hsm_signer.challenge_producers import CHALLENGE_PRODUCER
from services.hsm_signer.sealing_keys import SealingKeys, at_rest_label
from services.otp_dispatch.sealing_key import newest_sealing_key
from tests.integration.hsm_signer.conftest import KEPT, LIFETIME, Signer, hsm, pki, signer, soft_hsm
from tests.support.pki import Pki
from tests.support.requests import key_id, key_state, new_user, user_state

__all__ = ["hsm", "pki", "signer", "soft_hsm"]

pytestmark = pytest.mark.stack

OTP, WRONG_OTP, PIN = "482913", "000000", "Kn4ri-of-an-officer"
MOMENT = timedelta(seconds=1)


async def rotated(signer: Signer, keys: SealingKeys, now: datetime) -> list[Key]:
    """What the timer does in one replica; returns what it publishes."""
    new = await keys.make(now)
    async with signer.room.pool.acquire() as connection, connection.transaction():
        published = await keys.rotate(connection, new, now)
    async with signer.room.pool.acquire() as connection, connection.transaction():
        await keys.destroy_old(connection, now)
    return published


async def public_key(keys: SealingKeys, name: str) -> X25519PublicKey:
    private = await keys.private_key(name)
    assert private is not None
    return private.public_key()


async def submission(
    signer: Signer, user: User, request: MediumResolved, sealing_key_id: str, public: X25519PublicKey, *, otp: str
) -> AuthorisationSubmitted:
    """PIN and OTP sealed to this key, with a genuine challenge of the OTP that was mailed."""
    producer = signer.pki.producer(CHALLENGE_PRODUCER)
    async with signer.room.pool.acquire() as connection:
        await state.put_keys(connection, [key_state(producer, "producer", CHALLENGE_PRODUCER, signer.pki)])
    root = request.signed.manifest.commitment().root
    bound = (str(request.request_id), root, sealing_key_id)
    info = sealing_info(PURPOSE_CHALLENGE, *bound)
    challenge = make_challenge(
        request_id=str(request.request_id),
        user=user.user,
        credential_id=str(user.credential_id),
        root=root,
        reference_code="K7P",
        channel="e-mail",
        delivered_at=utc_now(),
        expires_at=utc_now() + timedelta(minutes=10),
        otp=OTP,
    )
    sealed = seal_challenge(
        challenge, producer_key=producer.key, producer_key_id=key_id(producer), sealing_key=public, info=info
    )
    return AuthorisationSubmitted(
        request_id=request.request_id,
        signed=request.signed,
        challenges=(SealedChallenge(sealing_key_id=sealing_key_id, sealed=sealed),),
        sealing_key_id=sealing_key_id,
        sealed=seal(Secrets(pin=PIN, otp=otp).encode(), public, sealing_info(PURPOSE_AUTHORISATION, *bound)),
    )


async def an_officer(signer: Signer) -> User:
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user).der})
    return user


async def counted(signer: Signer, request: MediumResolved) -> int:
    """Wrong codes of a request."""
    found = await signer.room.pool.fetchval("SELECT wrong_otps FROM request WHERE request_id = $1", request.request_id)
    return int(found)


async def attempts(signer: Signer, request_id: UUID) -> list[str]:
    rows = await signer.room.pool.fetch("SELECT state FROM attempt WHERE request_id = $1", request_id)
    return sorted(row["state"] for row in rows)


def forged_key(forger: Pki, owner: str = "sealing key") -> tuple[Key, bytes]:
    """A sealing key of somebody else's authorities, as the keys' topic would say it; and their root."""
    state_of = key_state(forger.sealing_key(), "sealing", owner, forger)
    return state_of, forger.service_root.certificate.public_bytes(Encoding.DER)


async def test_a_forged_sealing_certificate_is_refused_by_the_sdk_and_by_every_service(pki: Pki) -> None:
    """I-17: of who writes the broker, or is the gateway. Who pinned the forger's root would seal to the forger."""
    forged, forgers_root = forged_key(Pki(now=utc_now()))
    pinned, now = pki.service_root.certificate.public_bytes(Encoding.DER), utc_now()
    with pytest.raises(CertificateError):
        SealingKey.judge(forged.key_id, forged.chain, service_root=pinned, at=now)
    assert not key_trust(pinned)(forged)
    assert newest_sealing_key([forged], pinned, now) is None

    assert SealingKey.judge(forged.key_id, forged.chain, service_root=forgers_root, at=now).key_id == forged.key_id
    assert key_trust(forgers_root)(forged)
    assert newest_sealing_key([forged], forgers_root, now) is not None


async def test_the_genuine_authority_s_name_and_chain_around_another_s_key_are_refused(pki: Pki) -> None:
    """I-17: a chain that is genuine but for its own key."""
    genuine, pinned = key_state(pki.sealing_key(), "sealing", "sealing key", pki), pki.service_root
    root = pinned.certificate.public_bytes(Encoding.DER)
    other, _ = forged_key(Pki(now=utc_now()))
    for chain in ((other.chain[0], *genuine.chain[1:]), genuine.chain[:1], (*other.chain, *genuine.chain)):
        forged = genuine.model_copy(update={"key_id": other.key_id, "chain": chain})
        with pytest.raises((CertificateError, ValueError)):
            SealingKey.judge(forged.key_id, forged.chain, service_root=root, at=utc_now())
        assert not key_trust(root)(forged)
    assert SealingKey.judge(genuine.key_id, genuine.chain, service_root=root, at=utc_now()).key_id == genuine.key_id


async def test_rotation_loses_nothing_under_way_and_the_old_key_s_time_ends(signer: Signer) -> None:
    """I-10: 48 h after it was replaced a seal is expired, and nothing was counted; before that it is opened."""
    user, keys, now = await an_officer(signer), signer.sealing_keys(), utc_now()
    [old, *_] = await rotated(signer, keys, now - LIFETIME - KEPT)
    public = await public_key(keys, old.key_id)
    await rotated(signer, keys, now - KEPT)  # replaced 48 h ago, to the moment

    under_way = signer.request(user)
    event = await submission(signer, user, under_way, old.key_id, public, otp=WRONG_OTP)
    await signer.room.send(signer.submitted, [event])
    assert (await signer.failed(event)).reason is Reason.OTP_INCORRECT, "it was opened, and judged"
    assert await counted(signer, under_way) == 1

    async with signer.room.pool.acquire() as connection, connection.transaction():
        await keys.destroy_old(connection, now + MOMENT)
    late = signer.request(user)
    event = await submission(signer, user, late, old.key_id, public, otp=WRONG_OTP)
    await signer.room.send(signer.submitted, [event])
    assert (await signer.failed(event)).reason is Reason.SEAL_EXPIRED
    assert await counted(signer, late) == 0
    assert await attempts(signer, late.request_id) == ["void"]


async def test_a_blob_that_is_replayed_is_one_attempt(signer: Signer) -> None:
    """I-11: an attempt is the hash of the blob. The same secrets sealed anew are another guess, and count."""
    user, keys = await an_officer(signer), signer.sealing_keys()
    [key] = await rotated(signer, keys, utc_now())
    public, request = await public_key(keys, key.key_id), signer.request(user)
    event = await submission(signer, user, request, key.key_id, public, otp=WRONG_OTP)
    record = encode(signer.submitted, event, source="gateway", time=utc_now())
    others = [header for header in record.headers if header[0] != "ce_id"]
    for _ in range(10):  # under another event id each: its own would be known
        again = replace(record, headers=(("ce_id", str(uuid4()).encode()), *others))
        await signer.room.send(signer.submitted, [again])
    assert (await signer.failed(event)).reason is Reason.OTP_INCORRECT
    await signer.room.all_committed(signer.submitted, 10, f"{signer.room.schema}.interactive")
    assert await counted(signer, request) == 1

    anew = await submission(signer, user, request, key.key_id, public, otp=WRONG_OTP)
    await signer.room.send(signer.submitted, [anew])
    assert (await signer.failed(anew)).reason is Reason.OTP_INCORRECT
    assert await counted(signer, request) == 2


async def test_a_blob_of_one_request_opens_in_no_other(signer: Signer) -> None:
    """I-10: the seal is bound to request and documents; unbound, whoever has the blob could place it anywhere."""
    user, keys = await an_officer(signer), signer.sealing_keys()
    [key] = await rotated(signer, keys, utc_now())
    public, first, other = await public_key(keys, key.key_id), signer.request(user), signer.request(user)
    taken = await submission(signer, user, first, key.key_id, public, otp=OTP)
    own = await submission(signer, user, other, key.key_id, public, otp=OTP)
    placed = own.model_copy(update={"sealed": taken.sealed})
    await signer.room.send(signer.submitted, [placed])
    assert (await signer.failed(placed)).reason is Reason.SEAL_INVALID
    assert await counted(signer, other) == 0

    private = await keys.private_key(key.key_id)
    assert private is not None
    bound = sealing_info(
        PURPOSE_AUTHORISATION, str(first.request_id), first.signed.manifest.commitment().root, key.key_id
    )
    assert Secrets.decode(open_sealed(taken.sealed, private, bound)).otp == OTP
    with pytest.raises(SealError):
        open_sealed(taken.sealed, private, b"")


async def test_a_backup_of_the_database_brings_no_destroyed_key_back(signer: Signer) -> None:
    """I-10: its key in the HSM went with it. Put back before that, the row opens: the key in the HSM is the defence."""
    keys, now = signer.sealing_keys(), utc_now()
    [old, *_] = await rotated(signer, keys, now)
    backup = await signer.room.pool.fetchval("SELECT private_key FROM sealing_key WHERE key_id = $1", old.key_id)
    await rotated(signer, keys, now + LIFETIME)

    async def restore() -> bool:
        await signer.room.pool.execute(
            "UPDATE sealing_key SET private_key = $2, destroyed_at = NULL WHERE key_id = $1", old.key_id, backup
        )
        return await signer.sealing_keys().private_key(old.key_id) is not None

    await signer.room.pool.execute("UPDATE sealing_key SET private_key = NULL, destroyed_at = now()")
    assert await restore(), "while the HSM has its key"

    async with signer.room.pool.acquire() as connection, connection.transaction():
        await keys.destroy_old(connection, now + LIFETIME + KEPT + MOMENT)
    row = await signer.room.pool.fetchrow("SELECT * FROM sealing_key WHERE key_id = $1", old.key_id)
    assert row is not None
    assert (row["private_key"], row["destroyed_at"] is None) == (None, False)
    assert tuple(row["chain"]) == old.chain, "the public key stays"
    assert not await restore()


async def test_a_row_that_was_altered_in_the_database_opens_nothing(signer: Signer) -> None:
    """The private key is bound to its own row; unaltered, it opens."""
    keys, now = signer.sealing_keys(), utc_now()
    [one] = await rotated(signer, keys, now)
    two, *_ = await rotated(signer, keys, now + LIFETIME)
    assert await signer.sealing_keys().private_key(one.key_id)
    await signer.room.pool.execute(
        "UPDATE sealing_key SET private_key = other.private_key FROM sealing_key other "
        "WHERE sealing_key.key_id = $1 AND other.key_id = $2",
        one.key_id,
        two.key_id,
    )
    assert await signer.sealing_keys().private_key(one.key_id) is None
    assert await signer.sealing_keys().private_key(two.key_id)


def at_rest_labels(session: TokenSession) -> set[str]:
    """Of the keys in the token, those of sealing keys."""
    found = session.raw.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
    return {label for key in found if (label := str(key[Attribute.LABEL])).startswith("sealing-at-rest-")}


async def test_replicas_that_rotate_at_once_make_one_key(signer: Signer) -> None:
    """The others' keys are given up, in the HSM too."""
    now = utc_now()
    before = await signer.hsm.run(at_rest_labels)
    published = await asyncio.gather(*(rotated(signer, signer.sealing_keys(), now) for _ in range(4)))
    states = [each for one in published for each in one]
    assert [each.retired_at for each in states] == [None]
    live = await signer.room.pool.fetch("SELECT key_id FROM sealing_key WHERE retired_at IS NULL")
    assert [row["key_id"] for row in live] == [states[0].key_id]
    assert await signer.sealing_keys().private_key(states[0].key_id)
    labels = await signer.hsm.run(at_rest_labels)
    assert labels - before == {at_rest_label(states[0].key_id)}
