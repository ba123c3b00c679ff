"""`gpki approve`: a security officer's half of the order to certify a service's key."""

from pathlib import Path
from typing import Annotated, Final, get_args

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from libs.contracts.service_keys import (
    ORDER_SUFFIX,
    Purpose,
    ServiceKeyOrder,
    SignedOrder,
    service_key_signature_input,
)
from libs.crypto.certificates import UNREADABLE
from libs.crypto.errors import CryptoError
from libs.crypto.pki import requested_key
from libs.crypto.public_keys import public_key_id
from libs.runtime.secret_files import publish
from services.operations.people import KeyFile, added, own_key, signature
from services.operations.terminal import fail

REQUEST: Final = ".csr.pem"


def approve(
    request: Annotated[Path, typer.Argument(help="requests/PURPOSE/OWNER.csr.pem in the authority's PKI directory")],
    key: KeyFile,
    system: Annotated[str | None, typer.Option(help="of a caller: the system that it may name")] = None,
    office: Annotated[list[str] | None, typer.Option(help="of a caller: an office that it may name; none: all")] = None,
) -> None:
    """Sign, as a security officer, that this key is certified so. Another one must sign the same before it is."""
    signer = own_key(key)
    try:
        wanted = ServiceKeyOrder(
            purpose=_purpose(request),
            owner=request.name.removesuffix(REQUEST),
            key_id=_key_id(request),
            system=system,
            offices=tuple(sorted(set(office or ()))),
        )
        file = request.with_name(wanted.owner + ORDER_SUFFIX)
        found = SignedOrder.model_validate_json(file.read_bytes()) if file.exists() else SignedOrder(order=wanted)
    except (OSError, CryptoError, ValidationError) as error:
        fail(f"{request}: {type(error).__name__}: no order can be made of this")
    if found.order != wanted:
        fail(f"{file} is an order for something else: {found.order.model_dump_json()}; agree first, then delete it")
    mine = signature(signer, service_key_signature_input(wanted))
    signed = SignedOrder(order=wanted, signatures=added(found.signatures, mine))
    publish(file, signed.model_dump_json(indent=1).encode())
    typer.echo(f"{wanted.model_dump_json()}\nsigned by {len(signed.signatures)} keys: {file}")


def _purpose(request: Path) -> Purpose:
    known: tuple[Purpose, ...] = get_args(Purpose)
    found = next((purpose for purpose in known if purpose == request.parent.name), None)
    return found or fail(f"{request.parent.name} is no purpose of a service's key")


def _key_id(request: Path) -> str:
    try:
        der = x509.load_pem_x509_csr(request.read_bytes()).public_bytes(Encoding.DER)
    except UNREADABLE:
        fail(f"{request}: no certification request in PEM")
    return public_key_id(requested_key(der))
