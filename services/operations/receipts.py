"""`gpki receipt`: the receipts of a request or a document, made of what is kept for years, for `gpki verify`."""

import base64
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from libs.contracts.record import DOCUMENT_FILE, SIGNATURE_FILE, TRUST_FILE, Json
from libs.crypto.notes import NoteError
from libs.gpki_client.errors import CertificateError, CheckpointError, RecordError, TrustError
from libs.gpki_client.record import RECORD_FILE, Pinned, verify_record
from libs.gpki_client.trust import AUTHORITIES, TrustFile
from services.operations import database
from services.operations.audit import Keys
from services.operations.database import Database, connection
from services.operations.proving import ReceiptError, folder_of, logged, receipts
from services.operations.terminal import escaped, fail, run
from services.operations.verify import pinned_in

CHUNK: Final = 1024 * 1024


def make_receipts(
    name: Annotated[str, typer.Argument(metavar="REQUEST|DOCUMENT", help="the platform's request id, or a document's")],
    *,
    out: Annotated[Path, typer.Option(help="folder for one folder per posted document; what is there stays")],
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    pki: Annotated[Path, database.option("GPKI_PKI_DIR", "directory with the pinned keys, `root.pem`, `issuing.pem`")],
    crls: Annotated[str, database.option("GPKI_CRL_BASE_URL", "base URL of the CRL server")],
    documents: Annotated[
        Path | None, typer.Option(help="folder with the documents' bytes: found by their SHA-256, whatever their names")
    ] = None,
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
) -> None:
    """Write the receipts of what was posted, however long ago; each is proved before it is written. Reads only.

    The platform never had the documents' bytes: without --documents put them there, as the file `document` of each
    folder; then `gpki verify` proves all of it.
    """
    posting = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    try:
        keys = Keys.read(pki)
        trust = TrustFile({name: (pki / f"{name}.pem").read_bytes() for name in AUTHORITIES}, crls)
        pinned, held = pinned_in(pki), _held(documents)
    except (OSError, NoteError, CertificateError, CheckpointError) as error:
        fail(f"the pinned keys, the authorities or the documents cannot be read: {error}")
    try:
        written = run(_write(posting, name, keys, Folders(out, trust, held)))
    except (ReceiptError, TrustError) as error:
        fail(f"no receipt: {escaped(str(error))}")
    if not written:
        fail(f"nothing is posted of a request or a document {escaped(name)}")
    whole = [folder for folder in written if (folder / DOCUMENT_FILE).exists()]
    _prove(whole, pinned)
    typer.echo(f"{len(written)} receipts in {out}, {len(whole)} of them with their document")
    if len(whole) < len(written):
        typer.echo(f"where it is missing: put its bytes beside {RECORD_FILE}, as the file `{DOCUMENT_FILE}`")


@dataclass(frozen=True)
class Folders:
    """Where receipts go, and what goes in beside the record; `held` are the documents, by their SHA-256."""

    out: Path
    trust: TrustFile
    held: Mapping[str, Path]

    async def write(self, record: Json) -> Path:
        """One receipt's folder, record.json last: who finds it finds the rest. Raises ReceiptError, TrustError."""
        pem = await self.trust.pem((crl["issuer"], int(crl["number"])) for crl in record["crls"])
        folder = folder_of(self.out, record)
        if folder.exists():
            raise ReceiptError(f"{folder} is there already, and stays: name another --out")
        try:
            folder.mkdir(parents=True)
            document = self.held.get(record["document"]["sha256"])
            if document is not None:
                shutil.copyfile(document, folder / DOCUMENT_FILE)
            (folder / SIGNATURE_FILE).write_bytes(base64.b64decode(record["cms"]))
            (folder / TRUST_FILE).write_bytes(pem)
            (folder / RECORD_FILE).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:  # told here, or it would be taken for the database's
            raise ReceiptError(f"{folder}: {error.strerror}") from None
        return folder


async def _write(posting: Database, name: str, keys: Keys, folders: Folders) -> list[Path]:
    """What was written, in the log's order, until all is or one does not hold. Raises ReceiptError, TrustError."""
    async with (
        connection(posting, as_name="gpki receipt") as asked,
        asked.transaction(isolation="repeatable_read", readonly=True),  # one moment of it for all questions
    ):
        return [await folders.write(record) async for record in receipts(asked, await logged(asked, name), keys)]


def _prove(folders: Sequence[Path], pinned: Pinned) -> None:
    """As `gpki verify` does. Ends the command when one does not hold, as with a CRL that is not what was consulted."""
    for folder in folders:
        try:
            verify_record(folder, pinned=pinned)
        except RecordError as error:
            fail(f"{folder.name} does not hold: {escaped(str(error))}")


def _held(documents: Path | None) -> dict[str, Path]:
    """The files of a folder, or the one file, by the SHA-256 of their bytes."""
    if documents is None:
        return {}
    files = [documents] if documents.is_file() else [one for one in sorted(documents.iterdir()) if one.is_file()]
    return {_sha256(file): file for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
