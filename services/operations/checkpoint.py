"""`gpki checkpoint`: the newest checkpoint of the signing log with the proof that it continues an earlier one.

For a witness that was away for too long (docs/runbook.md, `witness-gap`), and for anybody else who keeps a checkpoint
and holds the next one against it. Nothing is believed of it: whoever reads it judges it.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from libs.contracts.log import CheckpointProof
from libs.crypto.merkle import MerkleError
from services.operations import database
from services.operations.database import Database, connection
from services.operations.terminal import fail, run
from services.operations.tree import tree_of

_NEWEST: Final = "SELECT size, root, note FROM posting.checkpoint ORDER BY size DESC LIMIT 1"
_COUNTERSIGNED: Final = "SELECT max(size) FROM monitor.countersigned"


def make_proof(
    *,
    out: Annotated[Path, typer.Option(help="file to write")],
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    since: Annotated[int, typer.Option(min=0, help="size that it is to continue; 0: the last countersigned one")] = 0,
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
) -> None:
    """Write the log's newest checkpoint, with the proof that it continues the one of size SINCE. Reads only."""
    posting = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    proof = run(_proof(posting, since))
    try:
        out.write_text(proof.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        fail(f"{out}: {error.strerror}")
    size = proof.note.splitlines()[1]
    typer.echo(f"{out}: the checkpoint of size {size}, upon size {proof.previous}")


async def _proof(posting: Database, since: int) -> CheckpointProof:
    async with (
        connection(posting, as_name="gpki checkpoint") as asked,
        asked.transaction(isolation="repeatable_read", readonly=True),  # one moment of it for all questions
    ):
        newest = await asked.fetchrow(_NEWEST)
        since = since or await asked.fetchval(_COUNTERSIGNED) or 0
        if newest is None or not 0 < since <= newest["size"]:
            fail(f"posting has no checkpoint that continues size {since}")
        tree = await tree_of(asked, newest["size"], [since - 1])
    try:
        path, peaks = tree.consistency_path(since), tree.peaks()
    except MerkleError as error:
        fail(f"the log's tree is not whole: {error}; see `gpki audit`")
    return CheckpointProof(note=newest["note"], previous=since, consistency=tuple(path), peaks=tuple(peaks))
