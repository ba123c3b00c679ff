"""The documents that are signed: their bytes, which only iGFMAS holds, and their entries in a manifest."""

import hashlib
from dataclasses import dataclass, field

from libs.contracts.manifest import Action, Document, Header, Manifest, UncheckedManifest
from libs.contracts.signing import Requested
from libs.gpki_client import Caller
from services.igfmas.keys import CALLER, SYSTEM
from services.igfmas.vouchers import Voucher


@dataclass(frozen=True)
class Paper:
    """A document as iGFMAS keeps it: the bytes that are signed, and the entry that stands for them."""

    entry: Document
    content: bytes = field(repr=False)


def paper_of(voucher: Voucher, prefix: str) -> Paper:
    """Render a voucher under the id `prefix`-number: UTF-8, one `name: value` a line; same input, same bytes."""
    identifier = f"{prefix}-{voucher.voucher}"
    lines = (
        "BAUCAR BAYARAN KERAJAAN MALAYSIA / GOVERNMENT OF MALAYSIA PAYMENT VOUCHER",
        f"Id Dokumen / Document id: {identifier}",
        f"No. Baucar / Voucher no.: {voucher.voucher}",
        f"Jenis / Kind: {voucher.kind}",
        f"Perihal / Title: {voucher.title}",
        f"Penerima / Payee: {voucher.payee}",
        f"Amaun / Amount: {voucher.currency} {voucher.amount}",
        f"PTJ / Office: {voucher.office}",
    )
    content = ("\n".join(lines) + "\n").encode()
    entry = Document(
        id=identifier,
        kind=voucher.kind,
        title=voucher.title,
        payee=voucher.payee,
        amount=voucher.amount,
        currency=voucher.currency,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return Paper(entry, content)


def manifest_of(entries: tuple[Document, ...], *, request: str, user: str, office: str, action: Action) -> Manifest:
    """What one officer is asked to do. `request` is our own id, unique for ever. Raises ValueError."""
    header = Header(
        request=request,
        caller=CALLER,
        system=SYSTEM,
        user=user,
        office=office,
        action=action,
        count=str(len(entries)),
    )
    return Manifest(header=header, documents=entries)


def request_of(manifest: Manifest, key: Caller) -> Requested:
    """`requested`, signed over the root. About 8 µs a document: off the event loop for long manifests."""
    unchecked = UncheckedManifest.model_validate(manifest.model_dump())
    return Requested(manifest=unchecked, caller_key=key.key_id, signature=key.sign_root(unchecked.commitment().root))
