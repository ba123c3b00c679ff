"""`gpki custody`: backup of the users' keys by the signer, and restore by order of two security officers."""

import os
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, NoReturn
from uuid import uuid4

import typer
from pydantic import ValidationError

from libs.contracts.custody import ORDER_SUFFIX, RestoreOrder, SignedRestoreOrder, restore_signature_input
from libs.contracts.enrolment import AdministratorSignature
from libs.crypto.errors import CryptoError
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.runtime.clock import utc_now
from libs.runtime.secret_files import publish
from services.operations.terminal import fail

commands = typer.Typer(no_args_is_help=True, help="Backup and restore of the users' keys.")

GOOD_FOR: Final = timedelta(hours=24)
"""How long the signer follows an order."""

File = Annotated[Path, typer.Argument(help="the backup's file")]


@commands.command()
def backup(file: File) -> None:
    """Write a backup, on the signer's host and with its settings; the service may run."""
    _as_signer("backup", file)


@commands.command()
def approve(file: File, key: Annotated[Path, typer.Option(help="file of your own private key (Ed25519, PEM)")]) -> None:
    """Sign, as a security officer, that custody is restored from this file. Another one must sign the same."""
    order_file = file.with_name(file.name + ORDER_SUFFIX)
    try:
        signer = read_signing_key(key.read_bytes())
        found_digest = sha256(file.read_bytes()).hexdigest()
        wanted = RestoreOrder(order=uuid4(), backup_sha256=found_digest, ordered_at=utc_now())
        found = (
            SignedRestoreOrder.model_validate_json(order_file.read_bytes())
            if order_file.exists()
            else SignedRestoreOrder(order=wanted)
        )
    except (OSError, CryptoError, ValidationError) as error:
        fail(f"{file}: {type(error).__name__}: no order can be made of this")
    if found.order.backup_sha256 != found_digest or utc_now() - found.order.ordered_at > GOOD_FOR:
        fail(f"{order_file} is an order for another file, or older than a day: agree first, then delete it")
    mine = AdministratorSignature(
        key_id=public_key_id(signer.public_key()), signature=signer.sign(restore_signature_input(found.order))
    )
    others = tuple(one for one in found.signatures if one.key_id != mine.key_id)
    signed = SignedRestoreOrder(order=found.order, signatures=(*others, mine))
    publish(order_file, signed.model_dump_json(indent=1).encode())
    typer.echo(f"{found.order.model_dump_json()}\nsigned by {len(signed.signatures)}: {order_file}")


@commands.command()
def restore(file: File) -> None:
    """Follow the order beside the file, on the signer's host, with its settings; every replica is stopped, or waits."""
    _as_signer("restore", file)


def _as_signer(what: str, file: Path) -> NoReturn:
    """Become the signer's own step: what it needs is the signer's, and nobody else's."""
    os.execv(sys.executable, [sys.executable, "-m", f"services.hsm_signer.{what}", str(file)])  # noqa: S606 (our own module, no shell)
