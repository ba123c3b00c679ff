"""The order to certify a service's key: what two security officers sign before the authority answers a request."""

import hashlib
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from libs.contracts.base import Exact
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.manifest import Name
from libs.crypto.jcs import canonical

SERVICE_KEY_DOMAIN: Final = b"gpki.service-key-order.v1"

ORDER_SUFFIX: Final = ".order.json"
"""Beside `<owner>.csr.pem`: the file of the order for that request."""

Purpose = Literal["security-officer", "sealing-authority", "caller", "registrar", "producer"]


class ServiceKeyOrder(Exact):
    """Whose key is certified for what; of a caller, its system and its policy: the only offices, sorted; none, all."""

    purpose: Purpose
    owner: Name
    key_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    system: Name | None = None
    offices: tuple[Name, ...] = ()


class SignedOrder(Exact):
    """An order with the signatures that it has so far; the keys are those of security officers."""

    order: ServiceKeyOrder
    signatures: tuple[AdministratorSignature, ...] = ()


def service_key_signature_input(order: ServiceKeyOrder) -> bytes:
    """What each security officer signs: SERVICE_KEY_DOMAIN ‖ SHA-256(JCS(order))."""
    return SERVICE_KEY_DOMAIN + hashlib.sha256(canonical(order.model_dump(mode="json"))).digest()
