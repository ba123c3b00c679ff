"""The rule of who calls: a JWT that the caller's registered key signed for this one call (RFC 7519, RFC 8725).

It comes over a connection whose client proved that very key in the handshake of TLS (RFC 8705 section 3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pydantic import TypeAdapter, ValidationError

from libs.contracts.manifest import UserId
from libs.contracts.state import User
from libs.crypto.certificates import UNREADABLE
from libs.crypto.pki import ServicePurpose
from libs.crypto.public_keys import public_key_id
from libs.crypto.service_certificates import ServiceIdentity
from services.gateway.schemas import KeyId

AUDIENCE: Final = "gpki-gateway"

MAX_LIFE: Final = timedelta(seconds=60)
"""A token lives no longer than a call may take."""

LEEWAY: Final = timedelta(seconds=5)
"""What clocks may differ."""

MAX_TOKEN: Final = 4096
"""Characters."""

MAX_JTI: Final = 128
"""Characters."""

_KEY_ID: TypeAdapter[str] = TypeAdapter(KeyId)
_USER: TypeAdapter[str] = TypeAdapter(UserId)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for which user. `jti` may be used once; it must be remembered until `forget_at`.

    `offices` are those whose officers the caller may ask for, all of them when it is empty.
    """

    name: str
    user: str
    jti: str
    forget_at: datetime
    offices: frozenset[str] = frozenset()

    def owns(self, header: Mapping[str, str]) -> bool:
        """Whether a request with this header is this caller's, and this user's."""
        return (header.get("caller"), header.get("user")) == (self.name, self.user)


def key_id_of(token: str) -> str | None:
    """The key that a token claims to be signed with; nothing in it is checked but the form."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        return _KEY_ID.validate_python(jwt.get_unverified_header(token).get("kid"))
    except (jwt.PyJWTError, ValidationError, ValueError):
        return None


def connected_key(scope: Mapping[str, Any]) -> str | None:
    """The id of the key whose holder is at the other end of this call's connection; None without a client certificate.

    It is what the server says of its own handshake, in ASGI's extension `tls`: what stands in a request cannot be it.
    """
    chain: Sequence[str] = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    try:
        return public_key_id(x509.load_pem_x509_certificate(chain[0].encode()).public_key()) if chain else None
    except UNREADABLE:
        return None


def judge(token: str, identity: ServiceIdentity | None, now: datetime) -> Caller | None:
    """Who calls; None when the token is not this key's, or not for us, or not for now.

    `identity` is what the key of `key_id_of` stands for. The algorithm follows from the key, never from the token.
    Whether the `jti` was used before is the next question.
    """
    if identity is None or identity.purpose is not ServicePurpose.CALLER:
        return None
    found = _read(token, identity.public_key, issuer=identity.name, now=now)
    return None if found is None else replace(found, offices=identity.offices)


def claimed_user(token: str) -> str | None:
    """The user for whom a token claims to speak; nothing in it is checked but the form."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        return _USER.validate_python(jwt.decode(token, options={"verify_signature": False}).get("sub"))
    except (jwt.PyJWTError, ValidationError, ValueError):
        return None


def judge_device(token: str, user: User | None, now: datetime) -> Caller | None:
    """The officer's GPKI Mobile, by the name of its id; None when the token is not of the one that is registered now.

    `user` is whom `claimed_user` names. `iat` is asked for, too; whether the `jti` was used is the next question.
    """
    device = None if user is None else user.device
    if user is None or device is None or key_id_of(token) != device.device_id:
        return None
    public_key = Ed25519PublicKey.from_public_bytes(device.signing_key)
    found = _read(token, public_key, issuer=device.device_id, now=now, require=("iat",))
    return found if found is not None and found.user == user.user else None


def _read(
    token: str, public_key: PublicKeyTypes, *, issuer: str, now: datetime, require: Sequence[str] = ()
) -> Caller | None:
    algorithm = _algorithm(public_key)
    if algorithm is None:
        return None
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            public_key,  # type: ignore[arg-type]  # of a kind that `_algorithm` knows
            algorithms=[algorithm],
            audience=AUDIENCE,
            issuer=issuer,
            options={
                "require": ["iss", "sub", "aud", "exp", "jti", *require],
                "strict_aud": True,
                # Times are judged below, by the clock that we are given.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        user = _USER.validate_python(claims["sub"])
    except (jwt.PyJWTError, ValidationError, ValueError):
        return None
    jti, expires = claims["jti"], claims["exp"]
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI or not jti.isprintable() or not _in_time(claims, now):
        return None
    return Caller(issuer, user, jti, datetime.fromtimestamp(expires, UTC) + LEEWAY)


def _in_time(claims: dict[str, Any], now: datetime) -> bool:
    expires, begins = claims["exp"], [claims[name] for name in ("iat", "nbf") if name in claims]
    if any(type(moment) is not int for moment in (expires, *begins)):
        return False
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    lives = at - leeway < expires <= at + leeway + MAX_LIFE.total_seconds()
    return lives and all(0 <= expires - begin <= MAX_LIFE.total_seconds() and begin <= at + leeway for begin in begins)


def _algorithm(public_key: object) -> str | None:
    match public_key:
        case Ed25519PublicKey():
            return "EdDSA"
        case RSAPublicKey():
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(public_key.curve, SECP256R1):
            return "ES256"
        case _:
            return None
