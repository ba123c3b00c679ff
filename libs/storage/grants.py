"""What the role of a service may do in its schema, which another role owns: to its tables' rows only, not to tables."""

from collections.abc import Collection

from libs.storage.pool import Connection

APPEND_ONLY = "append-only"
"""A table whose comment begins so is read and appended to; nobody who serves changes or deletes a row of it."""

VIEW = b"v"
"""Of PostgreSQL's kinds of relations; it reads with its owner's rights."""

MIGRATION = "migration"
"""The table of what was applied, which a service only reads."""


async def grant(connection: Connection, schema: str, role: str) -> None:
    """Have exactly these permissions, in one transaction; `connection` is the owner's. Repeatable.

    Names cannot be parameters here: both come from our own constants.
    """
    async with connection.transaction():
        await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        for table, kind, comment in await connection.fetch(_TABLES, schema):
            await connection.execute(f"REVOKE ALL ON {schema}.{table} FROM {role}")
            await connection.execute(f"GRANT {_rights(table, kind, comment)} ON {schema}.{table} TO {role}")


async def grant_reading(connection: Connection, schema: str, role: str, tables: Collection[str] | None) -> None:
    """Have `role` read these tables of a schema, all for None, and nothing else there; `connection` is the owner's."""
    async with connection.transaction():
        await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        await connection.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}")
        for table, _, _ in await connection.fetch(_TABLES, schema):
            if tables is None or table in tables:
                await connection.execute(f"GRANT SELECT ON {schema}.{table} TO {role}")


def _rights(table: str, kind: bytes, comment: str) -> str:
    if table == MIGRATION or kind == VIEW:
        return "SELECT"
    return "SELECT, INSERT" if comment.startswith(APPEND_ONLY) else "SELECT, INSERT, UPDATE, DELETE"


_TABLES = """
SELECT quote_ident(relname), relkind, coalesce(obj_description(oid, 'pg_class'), '')
FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v')
"""
