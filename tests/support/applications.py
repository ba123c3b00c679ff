"""Applications, requests for certificates and revocations as registrar and signer make them."""

import itertools
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from libs.contracts.enrolment import (
    AdministratorSignature,
    Application,
    ApplicationSubmitted,
    CertificateRequested,
    Revocation,
    RevocationRequested,
    SignedApplication,
    SignedTokenApplication,
    TokenApplication,
    TokenApplicationSubmitted,
    TokenCertificateRequested,
    application_signature_input,
    credential_id_of,
    revocation_signature_input,
    token_application_signature_input,
)
from libs.contracts.state import Certificate
from libs.contracts.suspension import (
    Lifting,
    SignedLifting,
    Suspension,
    SuspensionRequested,
    lifting_signature_input,
    suspension_signature_input,
)
from libs.crypto.pki import SigningKey
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import certification_request
from libs.runtime.clock import utc_now
from tests.support.pki import VALIDATOR, rsa_key

_users = itertools.count(1)


def new_officer() -> str:
    """A No. Kad Pengenalan that no other test of this process applies for."""
    return f"{800101_500000 + next(_users):012d}"


def application(user: str | None = None, **values: Any) -> Application:
    """An application of a new officer, or of this one."""
    chosen = user or new_officer()
    return Application(
        **{
            "application": uuid4(),
            "user": chosen,
            "name": f"Pegawai {chosen}",
            "email": f"pegawai.{chosen}@anm.example",
            "office": "AG-KL-01",
            "sealed_pin_sha256": sha256(sealed_pin(chosen)).hexdigest(),
            **values,
        }
    )


def sealed_pin(user: str) -> bytes:
    """A sealed PIN that nobody here can open."""
    return b"sealed " + user.encode()


def with_pin(wanted: Application, sealed: bytes) -> Application:
    """The application under this sealed PIN."""
    return wanted.model_copy(update={"sealed_pin_sha256": sha256(sealed).hexdigest()})


def signed(
    wanted: Application,
    registrar: Ed25519PrivateKey,
    *,
    by: str | None = None,
    validator: Ed25519PrivateKey = VALIDATOR,
) -> SignedApplication:
    """The application as this registrar confirms it, and the second one validates it.

    `by` is the key id that the first claims, by default the true one.
    """
    return SignedApplication(
        application=wanted,
        registrar_key=by or public_key_id(registrar.public_key()),
        signature=registrar.sign(application_signature_input(wanted)),
        second=second(application_signature_input(wanted), validator),
    )


def second(content: bytes, key: Ed25519PrivateKey = VALIDATOR) -> AdministratorSignature:
    """What whoever validates signs: the process's second registrar (`Pki.validator`), or another."""
    return AdministratorSignature(key_id=public_key_id(key.public_key()), signature=key.sign(content))


def submitted(
    wanted: Application,
    registrar: Ed25519PrivateKey,
    *,
    by: str | None = None,
    validator: Ed25519PrivateKey = VALIDATOR,
) -> ApplicationSubmitted:
    """The application with a sealed PIN that nobody here can open."""
    return ApplicationSubmitted(
        signed=signed(wanted, registrar, by=by, validator=validator),
        sealing_key_id="00" * 32,
        sealed_pin=sealed_pin(wanted.user),
    )


def certificate_requested(
    wanted: Application,
    registrar: Ed25519PrivateKey,
    key: SigningKey | None = None,
    *,
    by: str | None = None,
    validator: Ed25519PrivateKey = VALIDATOR,
    **values: Any,
) -> CertificateRequested:
    """What the signer asks of the authority once it has made a key."""
    if "csr" not in values:
        values["csr"] = csr(key or rsa_key())
    return CertificateRequested(
        **{
            "signed": signed(wanted, registrar, by=by, validator=validator),
            "credential_id": credential_id_of(wanted),
            **values,
        }
    )


def token_application(user: str | None = None, request: bytes = b"", **values: Any) -> TokenApplication:
    """A token's application of a new officer, or of this one; `request` is its PKCS#10 in DER."""
    asked = application(user).model_dump(exclude={"algorithm", "sealed_pin_sha256"})
    return TokenApplication(**(asked | {"csr_sha256": sha256(request).hexdigest()} | values))


def signed_token(wanted: TokenApplication, registrar: Ed25519PrivateKey) -> SignedTokenApplication:
    """The application as this registrar confirms it."""
    return SignedTokenApplication(
        application=wanted,
        registrar_key=public_key_id(registrar.public_key()),
        signature=registrar.sign(token_application_signature_input(wanted)),
        second=second(token_application_signature_input(wanted)),
    )


def token_submitted(
    wanted: TokenApplication, registrar: Ed25519PrivateKey, request: bytes
) -> TokenApplicationSubmitted:
    """The application with the token's request."""
    return TokenApplicationSubmitted(signed=signed_token(wanted, registrar), csr=request)


def token_certificate_requested(
    wanted: TokenApplication, registrar: Ed25519PrivateKey, request: bytes
) -> TokenCertificateRequested:
    """What enrolment asks of the authority."""
    return TokenCertificateRequested(
        signed=signed_token(wanted, registrar), credential_id=credential_id_of(wanted), csr=request
    )


def revocation_requested(
    credential_id: UUID, registrar: Ed25519PrivateKey, *, by: str | None = None, **values: Any
) -> RevocationRequested:
    """A registrar's order to revoke."""
    revocation = Revocation(
        **{
            "revocation": uuid4(),
            "credential_id": credential_id,
            "reason": "key-compromise",
            "ordered_at": utc_now(),
            **values,
        }
    )
    return RevocationRequested(
        revocation=revocation,
        registrar_key=by or public_key_id(registrar.public_key()),
        signature=registrar.sign(revocation_signature_input(revocation)),
    )


def suspension_requested(
    credential_id: UUID, registrar: Ed25519PrivateKey, *, by: str | None = None
) -> SuspensionRequested:
    """A registrar's order to suspend."""
    order = Suspension(suspension=uuid4(), credential_id=credential_id, ordered_at=utc_now())
    return SuspensionRequested(
        suspension=order,
        registrar_key=by or public_key_id(registrar.public_key()),
        signature=registrar.sign(suspension_signature_input(order)),
    )


def signed_lifting(suspended: Certificate, *signers: Ed25519PrivateKey, **values: Any) -> SignedLifting:
    """The order of these two to lift this suspension."""
    order = Lifting(
        **{
            "lifting": uuid4(),
            "credential_id": suspended.credential_id,
            "version": suspended.version,
            "ordered_at": utc_now(),
            **values,
        }
    )
    first, other = (second(lifting_signature_input(order), signer) for signer in signers)
    return SignedLifting(lifting=order, signatures=(first, other))


def csr(key: Any, common_name: str = "whatever a request says") -> bytes:
    """A PKCS#10 request in DER."""
    pem = certification_request(key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    return x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
