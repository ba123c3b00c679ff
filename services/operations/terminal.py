"""What every command shares: the broker's address, work with its errors told in a sentence, text that may be shown."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn, TypeVar

import asyncpg
import typer
from aiokafka.errors import KafkaError

from libs.bus.outcomes import Unavailable
from libs.runtime.redaction import scrub_text
from libs.storage.errors import is_unavailable

T = TypeVar("T")

Kafka = Annotated[str, typer.Option(envvar="GPKI_KAFKA_BOOTSTRAP", help="host:port of a broker")]

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
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if not (is_unavailable(error) or isinstance(error, asyncpg.InsufficientPrivilegeError)):
            raise
        fail(f"PostgreSQL could not be asked ({type(error).__name__}): address, account and its password file?")


def fail(why: str) -> NoReturn:
    """End the command with exit code 1."""
    typer.echo(f"error: {why}", err=True)
    raise typer.Exit(1)


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
