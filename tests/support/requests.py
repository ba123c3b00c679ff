"""Requests as iGFMAS would sign them, and the state that the services keep about those who take part."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.cancelling import CancelRequested
from libs.contracts.ids import request_id_of
from libs.contracts.manifest import Manifest, SignedManifest, UncheckedManifest, signature_input
from libs.contracts.signing import MediumResolved, Requested
from libs.contracts.state import Certificate, Key, User
from libs.crypto.certificates import certificate_facts
from libs.runtime.clock import utc_now
from tests.support.pki import Identity, Pki

SYSTEM = "iGFMAS"

Caller = Identity[Ed25519PrivateKey]

_users = itertools.count(1)


def new_user() -> str:
    """A No. Kad Pengenalan that no other test of this process has."""
    return f"{700101_000000 + next(_users):012d}"


def document(number: int, **values: str) -> dict[str, str]:
    """A payment voucher."""
    identifier = f"BB{number:06d}"
    return {
        "id": identifier,
        "kind": "baucar-bayaran",
        "title": f"Baucar {identifier}",
        "payee": f"Syarikat {number} Sdn Bhd",
        "amount": f"{100 + number}.50",
        "currency": "MYR",
        "sha256": hashlib.sha256(identifier.encode()).hexdigest(),
        **values,
    }


def documents(count: int) -> list[dict[str, str]]:
    """So many vouchers."""
    return [document(number) for number in range(count)]


def header(user: str, count: int = 1, /, **values: str) -> dict[str, str]:
    """The header of a new request."""
    return {
        "request": uuid4().hex,
        "caller": "igfmas",
        "system": SYSTEM,
        "user": user,
        "office": "AG-KL-01",
        "action": "sah",
        "count": str(count),
        **values,
    }


def sign(head: Mapping[str, str], listed: Sequence[Mapping[str, str]], caller: Caller) -> bytes:
    """The caller's signature over the root."""
    received = UncheckedManifest.model_construct(header=dict(head), documents=tuple(map(dict, listed)))
    return caller.key.sign(signature_input(received.commitment().root))


def key_id(identity: Identity[Any]) -> str:
    """The id of an identity's key."""
    return certificate_facts(identity.der).spki_sha256.hex()


def requested(head: Mapping[str, str], listed: Sequence[Mapping[str, str]], caller: Caller) -> Requested:
    """A request, whatever stands in it, rightly signed."""
    manifest = UncheckedManifest(header=dict(head), documents=tuple(dict(each) for each in listed))
    return Requested(manifest=manifest, caller_key=key_id(caller), signature=sign(head, listed, caller))


def medium_resolved(
    head: Mapping[str, str], listed: Sequence[Mapping[str, str]], caller: Caller, **values: Any
) -> MediumResolved:
    """What medium_lookup makes of a request."""
    manifest = Manifest.model_validate({"header": head, "documents": listed})
    signed = SignedManifest(manifest=manifest, caller_key=key_id(caller), signature=sign(head, listed, caller))
    return MediumResolved(
        **{
            "request_id": manifest.header.request_id,
            "signed": signed,
            "requested_at": utc_now(),
            "medium": "roaming-otp",
            "credential_id": uuid4(),
            "channels": ("e-mail",),
            **values,
        }
    )


def cancel_of(head: Mapping[str, str], **values: Any) -> CancelRequested:
    """A new ask of the request's own caller and user."""
    return CancelRequested(
        **{
            "request_id": request_id_of(head["caller"], head["request"]),
            "cancellation": uuid4(),
            "caller": head["caller"],
            "user": head["user"],
            **values,
        }
    )


def user_state(user: str, /, **values: Any) -> User:
    """A registered officer with a mailbox of its own."""
    return User(
        **{
            "user": user,
            "version": 1,
            "name": f"Pegawai {user}",
            "email": f"pegawai.{user}@anm.example",
            "office": "AG-KL-01",
            "medium": "roaming-otp",
            "channels": ("e-mail",),
            "credential_id": uuid4(),
            **values,
        }
    )


def certificate_state(user: User, /, **values: Any) -> Certificate:
    """The status of the officer's certificate; its bytes are nobody's business here."""
    assert isinstance(user.credential_id, UUID)
    return Certificate(
        **{
            "credential_id": user.credential_id,
            "user": user.user,
            "version": 1,
            "medium": user.medium,
            "status": "good",
            "certificate": b"certificate",
            "issuer": b"issuer",
            "status_since": utc_now(),
            **values,
        }
    )


def key_state(identity: Identity[Any], purpose: str, owner: str, pki: Pki, **values: Any) -> Key:
    """The state of a service key, as the authority, or for sealing keys the signer, publishes it."""
    above = (pki.sealing_authority.certificate.public_bytes(Encoding.DER),) if purpose == "sealing" else ()
    return Key(
        **{
            "key_id": key_id(identity),
            "version": 1,
            "purpose": purpose,
            "owner": owner,
            "chain": (identity.der, *above),
            "retired_at": None,
            **values,
        }
    )
