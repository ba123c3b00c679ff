"""What every command shares: the broker's address, work with its errors told in a sentence, text that may be shown."""

import asyncio
import os
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import asyncpg
import typer
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from libs.bus.outcomes import Unavailable
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.redaction import scrub_text
from libs.runtime.secret_files import require_secret, secrets_directory
from libs.runtime.settings import ConfigurationError
from libs.storage.errors import is_unavailable

T = TypeVar("T")

OPERATOR = "operator"
"""As whom the operator is known to Kafka; GPKI_KAFKA_USER names another, such as the auditor, who writes nothing."""


NOT_ASKED: Final = 2
"""Exit code of what could not begin, as of a wrong option, where 1 is an answer: it does not agree, does not hold."""


def fail(why: str, code: int = 1) -> NoReturn:
    """End the command with this exit code."""
    typer.echo(f"error: {why}", err=True)
    raise typer.Exit(code)


def secret(directory: Path, name: str) -> SecretStr:
    """From its file; ends the command when there is none, or others may read it."""
    try:
        return SecretStr(require_secret(directory / name).decode("utf-8", "replace"))
    except ConfigurationError as error:
        fail(str(error), NOT_ASKED)


def _access(bootstrap: str) -> KafkaAccess:
    try:
        directory = secrets_directory()
    except ConfigurationError as error:
        fail(str(error), NOT_ASKED)
    user = os.environ.get("GPKI_KAFKA_USER", OPERATOR)
    return KafkaAccess(bootstrap, user, secret(directory, "kafka_password"), transport_root())


def transport_root() -> Path | None:
    """The authority of the TLS certificates of Kafka and PostgreSQL, where the platform is behind a network."""
    root = os.environ.get("GPKI_TRANSPORT_ROOT")
    return Path(root) if root else None


Kafka = Annotated[
    KafkaAccess,
    typer.Option(
        envvar="GPKI_KAFKA_BOOTSTRAP",
        parser=_access,
        metavar="TEXT",
        help=f"host:port of a broker; the password of {OPERATOR} is the file `kafka_password` in GPKI_SECRETS_DIR",
    ),
]

MAX_SHOWN = 200
"""Characters of one text that a line shows."""

_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_MASKED = re.compile(r"[^\s@<>,;]?\*+@[^\s@<>,;]+")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns; ends the command with exit code 1 when Kafka, or PostgreSQL, cannot be asked."""
    try:
        return asyncio.run(work)
    except Unavailable as error:
        fail(f"the {error.dependency} does not answer: ask again, nothing is done twice")
    except KafkaError as error:
        fail(f"Kafka could not be asked ({type(error).__name__}): is the broker up at the address given?")
    except asyncpg.InsufficientPrivilegeError as error:
        fail(f"this account may not: {error}; the operator's may (GPKI_POSTGRES_USER)")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if not is_unavailable(error):
            raise
        fail(f"PostgreSQL could not be asked ({type(error).__name__}): address, account and its password file?")


def printable(raw: bytes) -> str:
    """What may be printed on a terminal: no secrets that are known by their name, no control characters."""
    return escaped(scrub_text(raw.decode("utf-8", "replace")))


def escaped(text: str) -> str:
    """On one line, and no control sequence of somebody else's in it."""
    return text.encode("unicode_escape").decode()


def shown(text: str) -> str:
    """A text of an event, short enough for a line: printable, and without an address that is not masked."""

    def mask(found: re.Match[str]) -> str:
        return found[0] if _MASKED.fullmatch(found[0]) else "[address]"

    return escaped(_ADDRESS.sub(mask, scrub_text(text, limit=MAX_SHOWN)))
