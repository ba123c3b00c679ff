"""The rule of who may order a service's certificate: two security officers, over exactly what it will say."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from libs.bus.trust import confirmed_by_two
from libs.contracts.service_keys import ORDER_SUFFIX, SignedOrder, service_key_signature_input
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from services.certificate_authority.issuance import Order


def read(request: Path, owner: str) -> SignedOrder | None:
    """The order beside a request; None when there is none, or what is there is none."""
    try:
        return SignedOrder.model_validate_json(request.with_name(owner + ORDER_SUFFIX).read_bytes())
    except (OSError, ValidationError):
        return None


def fault(signed: SignedOrder | None, order: Order, officers: Mapping[str, ServiceIdentity]) -> str | None:
    """Why this certificate may not be made, in a sentence; None when two of these security officers ordered it."""
    if signed is None:
        return "no order of two security officers lies beside it (`gpki approve`)"
    if signed.order.model_dump() != _wanted(order):
        return f"the order is for something else than would be certified: {_wanted(order)}"
    pairs = [(officers.get(one.key_id), one.signature) for one in signed.signatures]
    if not confirmed_by_two(pairs, service_key_signature_input(signed.order), ServicePurpose.SECURITY_OFFICER):
        return "the order is not signed by two security officers, two different people"
    return None


def _wanted(order: Order) -> dict[str, object]:
    return {
        "purpose": order.profile.value,
        "owner": order.holder,
        "key_id": order.key_id,
        "system": order.organizational_unit,
        "offices": order.offices,
    }
