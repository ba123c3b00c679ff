"""`gpki verify`: proves receipts offline, with nothing but the folder and the keys that are pinned."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from libs.contracts.log import LOG_KEY_FILE, WITNESS_KEY_FILE
from libs.gpki_client.checkpoint import verifier_key
from libs.gpki_client.errors import CheckpointError, RecordError
from libs.gpki_client.record import RECORD_FILE, Pinned, ProvenRecord, verify_record
from services.operations import database
from services.operations.terminal import NOT_ASKED, escaped, fail

ROOT_FILE = "root.pem"


def verify(
    folder: Annotated[Path, typer.Argument(help="a receipt's folder, or one that holds such folders")],
    *,
    pki: Annotated[
        Path,
        database.option(
            "GPKI_PKI_DIR", f"where the pinned `{ROOT_FILE}`, `{LOG_KEY_FILE}` and `{WITNESS_KEY_FILE}` are"
        ),
    ],
) -> None:
    """Check a posted document's receipt: document, signature, certificate, CRLs, record, its place in the signing log.

    Needs no service and no network. Exit code 1: a receipt does not hold, and what of it; 2: nothing could be checked.
    """
    try:
        pinned = pinned_in(pki)
    except (OSError, CheckpointError) as error:
        fail(f"not verified: the pinned keys cannot be read: {error}", NOT_ASKED)
    folders = list(_receipts(folder))
    if not folders:
        fail(f"not verified: no {RECORD_FILE} in {folder}, nor in a folder of it", NOT_ASKED)
    failed = 0
    for one in folders:
        try:
            typer.echo(f"holds  {escaped(one.name)}: {_told(verify_record(one, pinned=pinned))}")
        except RecordError as error:
            failed += 1
            typer.echo(f"FAILS  {escaped(one.name)}: {escaped(str(error))}")
    typer.echo(f"{len(folders) - failed} of {len(folders)} hold")
    if failed:
        fail("what fails is named by its check: docs/runbook.md says what each may mean")


def pinned_in(pki: Path) -> Pinned:
    """Raises OSError, CheckpointError."""
    log, witness = (verifier_key((pki / name).read_text(encoding="utf-8")) for name in (LOG_KEY_FILE, WITNESS_KEY_FILE))
    return Pinned((pki / ROOT_FILE).read_bytes(), log, witness)


def _receipts(folder: Path) -> Iterator[Path]:
    if (folder / RECORD_FILE).exists():
        yield folder
    elif folder.is_dir():
        yield from (one for one in sorted(folder.iterdir()) if (one / RECORD_FILE).exists())


def _told(proven: ProvenRecord) -> str:
    logged = f"{proven.logged_at:%Y-%m-%d %H:%M:%S}Z"
    return (
        f"{escaped(proven.action)} by {escaped(proven.user)}, signed {proven.signed_at:%Y-%m-%d %H:%M:%S}Z, "
        f"in the signing log by {logged}; record {proven.record_id}"
    )
