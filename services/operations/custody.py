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
from pydantic_core import from_json

from libs.contracts.custody import ORDER_SUFFIX, RestoreOrder, SignedRestoreOrder, restore_signature_input
from libs.runtime.clock import utc_now
from libs.runtime.secret_files import publish
from services.operations.people import KeyFile, added, own_key, signature
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
def approve(file: File, key: KeyFile) -> None:
    """Sign, as a security officer, that custody is restored from this file. Another one must sign the same."""
    signer = own_key(key)
    order_file = file.with_name(file.name + ORDER_SUFFIX)
    try:
        content = file.read_bytes()
        contained = _contained(content)
        digest = sha256(content).hexdigest()
        wanted = RestoreOrder(order=uuid4(), backup_sha256=digest, ordered_at=utc_now())
        found = (
            SignedRestoreOrder.model_validate_json(order_file.read_bytes())
            if order_file.exists()
            else SignedRestoreOrder(order=wanted)
        )
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    except ValidationError:
        fail(f"{order_file} is no order: agree first, then delete it")
    if found.order.backup_sha256 != digest or utc_now() - found.order.ordered_at > GOOD_FOR:
        fail(f"{order_file} is an order for another file, or older than a day: agree first, then delete it")
    mine = signature(signer, restore_signature_input(found.order))
    signed = SignedRestoreOrder(order=found.order, signatures=added(found.signatures, mine))
    publish(order_file, signed.model_dump_json(indent=1).encode())
    typer.echo(f"{contained}\n{found.order.model_dump_json()}\nsigned by {len(signed.signatures)} keys: {order_file}")
    typer.echo("the signer counts those of security officers: two different people")


def _contained(content: bytes) -> str:
    """What the file says of itself, for who is asked to sign; the signer alone judges whether it is so."""
    try:
        said = from_json(content.split(b"\n", 1)[0])
        return f"a backup of {said['made_at']} with {len(said['credentials'])} credentials, by its own word"
    except (ValueError, KeyError, TypeError):
        fail("this is no backup of custody: `gpki custody backup` makes one")


@commands.command()
def restore(file: File) -> None:
    """Follow the order beside the file, on the signer's host, with its settings; every replica is stopped, or waits."""
    _as_signer("restore", file)


def _as_signer(what: str, file: Path) -> NoReturn:
    """Become the signer's own step: what it needs is the signer's, and nobody else's; but not the service's port."""
    environment = os.environ | {"GPKI_HEALTH_PORT": "0"}
    arguments = [sys.executable, "-m", f"services.hsm_signer.{what}", str(file)]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 (our own module, no shell)
