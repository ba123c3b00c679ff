"""`gpki keys`: how many credentials are under each key of the signer's HSM, and which are left under one."""

from typing import Annotated

import typer

from services.operations import database
from services.operations.database import Database, connection
from services.operations.terminal import fail, run

_IN_USE = """
SELECT k.label,
    (SELECT count(*) FROM hsm_signer.custody AS c WHERE c.wrapping_key = k.label) AS wrapped,
    (SELECT count(*) FROM hsm_signer.custody AS c WHERE c.pepper = k.label) AS peppered
FROM hsm_signer.custody_key AS k ORDER BY k.known_at, k.label
"""

_COSTS = """
SELECT memory_kib, iterations, parallelism, count(*) AS credentials FROM hsm_signer.custody
WHERE holds_a_key GROUP BY memory_kib, iterations, parallelism ORDER BY memory_kib, iterations, parallelism
"""

_DESTROYED = "SELECT label, destroyed_at FROM hsm_signer.destroyed_key ORDER BY destroyed_at, label"

_LEFT = """
SELECT credential_id, user_id FROM hsm_signer.custody WHERE $1 IN (wrapping_key, pepper) ORDER BY user_id
"""

_KNOWN = """
SELECT EXISTS (SELECT FROM hsm_signer.custody_key WHERE label = $1)
    OR EXISTS (SELECT FROM hsm_signer.destroyed_key WHERE label = $1)
"""


def show_keys(
    *,
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
    left: Annotated[str, typer.Option(help="a key's label: list the credentials that are still under it")] = "",
) -> None:
    """Show how many credentials are under each key of the signer's HSM: how far a rotation has come."""
    signer = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    for line in run(_left(signer, left) if left else _progress(signer)):
        typer.echo(line)


async def _progress(signer: Database) -> list[str]:
    async with connection(signer) as asked:
        in_use, costs = await asked.fetch(_IN_USE), await asked.fetch(_COSTS)
        destroyed = await asked.fetch(_DESTROYED)
    lines = []
    for row in in_use:
        uses = [
            f"{row[name]:,} {what}" for name, what in (("wrapped", "keys wrapped"), ("peppered", "PINs")) if row[name]
        ]
        lines.append(f"{row['label']:24} {', '.join(uses) or 'nothing: it can be destroyed, unless it is current'}")
    lines += [f"{row['label']:24} destroyed {row['destroyed_at']:%Y-%m-%d %H:%M}Z" for row in destroyed]
    lines += [
        f"Argon2id {row['memory_kib']:,} KiB x {row['iterations']} x {row['parallelism']}: {row['credentials']:,} PINs"
        for row in costs
    ]
    return lines


async def _left(signer: Database, label: str) -> list[str]:
    async with connection(signer) as asked:
        if not await asked.fetchval(_KNOWN, label):  # of a name that was mistyped nothing is left either
            fail(f"nobody knows a key {label}: `gpki keys` lists them")
        rows = await asked.fetch(_LEFT, label)
    return [*(f"{row['credential_id']}  {row['user_id']}" for row in rows), f"{len(rows):,} credentials under {label}"]
