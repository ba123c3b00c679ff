"""crl_verifier's table: the last good CRL of each authority."""

from decimal import Decimal
from pathlib import Path

from libs.crypto.crl import CrlIndex
from libs.storage.pool import Pool
from libs.storage.queries import load_queries
from services.crl_verifier.download import Fetched

_SQL = load_queries(Path(__file__).parent / "sql" / "crl.sql")


async def load(pool: Pool, issuer_key_id: bytes) -> Fetched | None:
    """The CRL that was kept, if any."""
    row = await pool.fetchrow(_SQL["load"], issuer_key_id)
    return None if row is None else Fetched(row["der"], row["etag"], row["last_modified"])


async def keep(pool: Pool, issuer_key_id: bytes, fetched: Fetched, index: CrlIndex) -> bool:
    """Keep a CRL; False when a replica has seen a newer one."""
    number = Decimal(index.number)  # up to 160 bits: no integer of PostgreSQL holds it
    kept = await pool.fetchval(
        _SQL["keep"], issuer_key_id, number, index.this_update, fetched.der, fetched.etag, fetched.last_modified
    )
    return kept is not None
