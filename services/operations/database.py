"""The services' schemas, read by an account that sees them all; nothing is ever written to one from here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import asyncpg
import typer
from pydantic import SecretStr

from libs.runtime.transport import client_context
from libs.storage.pool import Connection
from services.operations.terminal import secret, transport_root

SECONDS: Final = 5.0
"""To connect."""

SERVICES: Final = Path(__file__).parents[1]

MIGRATIONS: Final = {
    folder.parent.parent.name: folder for folder in sorted(SERVICES.glob("*/sql/migrations")) if folder.is_dir()
}
"""Schema of a service, which has the service's name → the folder of its migrations."""

LEDGERS: Final = tuple(schema for schema in MIGRATIONS if schema != "monitor")
"""Who runs the loop of libs/bus has an inbox and outcomes; monitor runs none."""


def option(variable: str, what: str) -> Any:
    """An option of the command line that is usually given by its variable."""
    return typer.Option(envvar=variable, help=what)


Host = Annotated[str, option("GPKI_POSTGRES_HOST", "host of PostgreSQL")]
User = Annotated[str, option("GPKI_POSTGRES_USER", "a role that may read every service's schema")]
Secrets = Annotated[Path, option("GPKI_SECRETS_DIR", "directory with that role's file `postgres_password`")]
Port = Annotated[int, option("GPKI_POSTGRES_PORT", "port of PostgreSQL")]
Name = Annotated[str, option("GPKI_POSTGRES_DATABASE", "database")]

DEFAULT_PORT: Final = 5432
DEFAULT_NAME: Final = "gpki"


@dataclass(frozen=True)
class Database:
    """Where PostgreSQL is, and as whom it is asked."""

    host: str
    port: int
    name: str
    user: str
    password: SecretStr


def database(*, host: str, port: int, name: str, user: str, secrets: Path) -> Database:
    """With the password from its file; ends the command when there is none, or others may read it."""
    return Database(host, port, name, user, secret(secrets, "postgres_password"))


@asynccontextmanager
async def connection(to: Database, *, as_name: str = "gpki", seconds: float = SECONDS) -> AsyncIterator[Connection]:
    """A session that can write nothing; `seconds` to connect. Raises what asyncpg raises."""
    opened = await asyncpg.connect(
        host=to.host,
        port=to.port,
        database=to.name,
        user=to.user,
        password=to.password.get_secret_value(),
        ssl=client_context(transport_root()),
        timeout=seconds,
        server_settings={"application_name": as_name, "default_transaction_read_only": "on"},
    )
    try:
        yield cast("Connection", opened)  # a pool's is asked in the same way
    finally:
        opened.terminate()


async def look_into(asked: Connection, schema: str) -> None:
    """From now on this connection's tables are those of this schema."""
    await asked.execute("SELECT set_config('search_path', $1, false)", schema)
