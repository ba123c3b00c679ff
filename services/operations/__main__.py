"""`gpki`, the operator's command line."""

import asyncio
import getpass
import logging
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import asyncpg
import typer
from aiokafka.errors import KafkaError

from libs.bus.signing import PRODUCER_KEY, EventSigner, Sign, unsigned
from libs.bus.topics import TopicError
from libs.contracts import topics
from libs.contracts.topics import Topic
from libs.crypto.notes import NoteError
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.settings import ConfigurationError, read_secret
from services.operations import custody, database, diagnosis, keys, ordering, reading, republish, tracing
from services.operations.approving import approve
from services.operations.audit import Keys, audit
from services.operations.auditing import known_root
from services.operations.checkpoint import make_proof
from services.operations.cluster import look
from services.operations.dead_letters import DeadLetters
from services.operations.discarding import RequestUnknownError, concerns, rejection
from services.operations.doctor import Stack, examine
from services.operations.letters import Letter
from services.operations.receipts import make_receipts
from services.operations.settings_policy import commands as policy
from services.operations.standing import standing
from services.operations.terminal import NOT_ASKED, Kafka, fail, printable, run, shown
from services.operations.topic_table import table
from services.operations.verify import verify

SHOWN = 2_000
"""Bytes of a record's value that `show` prints."""

gpki = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: records that a service could not process.")
_GROUPS = {"dlq": dlq, "republish": republish.commands, "custody": custody.commands, "order": ordering.commands}
for _name, _group in {**_GROUPS, "policy": policy}.items():
    gpki.add_typer(_group, name=_name)
gpki.command("keys")(keys.show_keys)
gpki.command()(verify)
gpki.command("receipt")(make_receipts)
gpki.command("checkpoint")(make_proof)
gpki.command()(approve)

Name = Annotated[str, typer.Argument(help="as `dlq list` shows it: TOPIC:NUMBER")]


@gpki.callback()
def _gpki() -> None:
    """Operate the signing platform."""


@gpki.command()
def trace(
    request: Annotated[UUID, typer.Argument(help="the request's UUID, as keys, logs and the gateway have it")],
    kafka: Kafka,
    every: Annotated[bool, typer.Option("--every", help="each document's own events")] = False,
) -> None:
    """Show the way of one request through the chain, and where it stands."""
    seen = run(reading.request(kafka, request))
    names = tracing.documents_of(seen)
    signing = [topic for topic in topics.TOPICS.values() if topic.name.startswith(reading.SIGNING)]
    buried = [letter for letter in run(_box(kafka).read(*signing)) if concerns(letter, request, names)]
    if not seen and not buried:
        fail(
            f"nothing is known of request {request}: it never came, is older than its topics keep "
            f"({topics.CHAIN_RETENTION.days} days), or is not the id that the platform gave it"
        )
    for line in tracing.lines(seen, every=every):
        typer.echo(line)
    for letter in buried:
        typer.echo(f"dead letter {letter.name}, {letter.state}: {shown(letter.service)}: {shown(letter.reason)}")
    if seen:
        typer.echo(standing(seen, utc_now()))
    unresolved = sum(letter.state == "open" for letter in buried)
    if unresolved:
        typer.echo(
            f"Open dead letters of it: {unresolved}. `gpki dlq show` tells what is in each; see docs/runbook.md."
        )


@gpki.command("topics")
def show_topics(kafka: Kafka) -> None:
    """Show every topic with its consumer groups' lag; exit code 1 when one differs from its declaration."""
    declared = tuple(topics.TOPICS.values())
    names = [name for topic in declared for name in (topic.name, topic.dead_letter)]
    try:
        lines, differs = table(declared, run(look(kafka, names)))
    except TopicError as error:
        fail(str(error))
    for line in lines:
        typer.echo(line)
    if differs:
        fail("what `!` marks is otherwise than libs/contracts/topics.py declares it: docs/runbook.md says what to do")


@gpki.command("doctor")
def examine_all(
    *,
    kafka: Kafka,
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    smtp_host: Annotated[str, database.option("GPKI_SMTP_HOST", "host of the mail relay")],
    gateway: Annotated[str, database.option("GPKI_GATEWAY_URL", "base URL of the GPKI API")],
    gateway_root: Annotated[Path, database.option("GPKI_GATEWAY_ROOT", "PEM of the authority of its TLS certificate")],
    crls: Annotated[str, database.option("GPKI_CRL_BASE_URL", "base URL of the CRL server")],
    pki: Annotated[Path, database.option("GPKI_PKI_DIR", "directory with `root.pem` and `issuing.pem`")],
    health: Annotated[
        str, database.option("GPKI_HEALTH_ADDRESSES", "NAME=HOST:PORT of each service's health port, comma-separated")
    ],
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
    smtp_port: Annotated[int, database.option("GPKI_SMTP_PORT", "port of the relay")] = 25,
    smtp_tls: Annotated[str, database.option("GPKI_SMTP_TLS", "when-offered, required or implicit")] = "when-offered",
) -> None:
    """Ask each part whether it works, and say what to do where it does not; exit code 1 when one fails."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a refused connection is a finding here, no news
    addresses = dict(one.partition("=")[::2] for one in health.split(",") if one)
    if not all(":" in address for address in addresses.values()):
        fail("GPKI_HEALTH_ADDRESSES is NAME=HOST:PORT, comma-separated")
    stack = Stack(
        kafka=kafka,
        database=database.database(
            host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
        ),
        smtp_host=smtp_host,
        smtp_port=smtp_port,
        smtp_tls=smtp_tls,
        gateway_url=gateway,
        gateway_root=gateway_root,
        crl_base_url=crls,
        pki_dir=pki,
        health=addresses,
    )
    findings = run(examine(stack, utc_now))
    for line in diagnosis.lines(findings):
        typer.echo(line)
    if any(one.state == "FAIL" for one in findings):
        raise typer.Exit(1)


@gpki.command("audit")
def audit_all(
    *,
    kafka: Kafka,
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    pki: Annotated[Path, database.option("GPKI_PKI_DIR", "directory with the pinned `log.vkey` and `witness.vkey`")],
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
    late: Annotated[float, typer.Option(min=0, help="seconds from signed to an outcome before it is a finding")] = 300,
    known: Annotated[str, typer.Option(help="SIZE:ROOT as an earlier audit printed it: the log must begin so")] = "",
) -> None:
    """Compare what was signed and posted with the records and the signing log; exit code 1 when it does not agree.

    Exit code 2: it could not be compared, since one of the two could not be asked.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a refused connection is told in a sentence
    records = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    try:
        before = (known_root(known),) if known else ()
    except ValueError:
        fail("not audited: --known is SIZE:ROOT as an earlier audit printed it", NOT_ASKED)
    try:
        keys = Keys.read(pki)
    except (OSError, NoteError) as error:
        fail(f"not audited: the pinned keys of the signing log cannot be read: {error}", NOT_ASKED)
    try:
        found = asyncio.run(audit(kafka, records, utc_now, keys=keys, late=timedelta(seconds=late), known=before))
    except KafkaError as error:
        _not_audited("Kafka", error)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _not_audited("PostgreSQL", error)
    for line in found.lines():
        typer.echo(line)
    if not found.agrees:
        raise typer.Exit(1)


def _not_audited(what: str, error: Exception) -> NoReturn:
    fail(
        f"not audited: {what} could not be asked ({type(error).__name__}); does the stack run (`make up`), and "
        "may this role read posting's tables?",
        NOT_ASKED,
    )


@dlq.command("list")
def show_all(
    kafka: Kafka,
    every: Annotated[bool, typer.Option("--all", help="also what was replayed or discarded")] = False,
) -> None:
    """Show the letters that nobody has done anything about."""
    found = [letter for letter in run(_box(kafka).read(*topics.TOPICS.values())) if every or letter.state == "open"]
    for letter in found:
        typer.echo(f"{letter.buried_at:%Y-%m-%d %H:%M:%S}Z  {letter.state:9}  {letter.name}")
        typer.echo(f"    {shown(letter.service) or 'unknown service'}: {shown(letter.reason)}")
    typer.echo(f"{len(found)} {'letters' if every else 'open letters'}")


@dlq.command()
def show(letter: Name, kafka: Kafka) -> None:
    """Show one letter: where it comes from, why it was buried, what was done, what is in it."""
    found = _find(kafka, letter)
    typer.echo(f"letter     {found.name}\nfrom       {shown(found.origin)}, taken {shown(found.taken_at)}")
    typer.echo(f"buried     {found.buried_at:%Y-%m-%d %H:%M:%S}Z")
    typer.echo(f"by         {shown(found.service) or 'unknown service'}")
    typer.echo(f"because    {shown(found.reason)}\nstate      {found.state}")
    for one in found.resolutions:
        typer.echo(f"           {one.deed} {one.at:%Y-%m-%d %H:%M:%S}Z by {shown(one.by)} {shown(one.reason)}".rstrip())
    typer.echo(f"key        {printable(found.record.key or b'')}")
    for name, value in found.record.headers:
        typer.echo(f"header     {shown(name)}: {printable(value)}")
    typer.echo(f"value      {len(found.record.value)} bytes{' (it was too large to keep)' if found.cut else ''}")
    typer.echo(printable(found.record.value[:SHOWN]) + ("…" if len(found.record.value) > SHOWN else ""))


@dlq.command()
def replay(letter: Name, kafka: Kafka) -> None:
    """Publish the record again where it came from: for when the service can process it now."""
    found = _find(kafka, letter)
    if found.cut:
        fail(f"{found.name} was too large to be kept: its producer must send it again")
    if found.state == "discarded":
        fail(f"{found.name} was discarded: what waited for it has ended, and stays ended")
    run(_box(kafka).replay(found, by=getpass.getuser()))
    typer.echo(f"{found.name} is on {found.topic} again")


@dlq.command()
def discard(
    letter: Name,
    kafka: Kafka,
    reason: Annotated[str, typer.Option(help="why it can never be processed; it is kept with the letter")],
    request: Annotated[UUID | None, typer.Option(help="the request, if the letter does not tell")] = None,
    secrets: Annotated[Path | None, database.option("GPKI_SECRETS_DIR", "directory with `producer_key`")] = None,
) -> None:
    """Give it up: what waits for it ends as `rejected: poison`."""
    found = _find(kafka, letter)
    if found.state == "discarded":
        last = found.resolutions[-1]
        fail(f"{found.name} was discarded before, by {shown(last.by)}: {shown(last.reason)}")
    try:
        rejected = rejection(found, request)
    except RequestUnknownError:
        fail(f"{found.name} does not say of which request: look at the log of {shown(found.service)}, give --request")
    if rejected is not None and rejected.header is None:
        # Of a request of which it was told nothing else, posting would not know when it is complete.
        header = run(_box(kafka).header(rejected.request_id, found.buried_at))
        rejected = rejected.model_copy(update={"header": header})
    sign = unsigned if rejected is None else _signer(secrets)
    run(_box(kafka).discard(found, rejected, by=getpass.getuser(), reason=reason, sign=sign))
    if rejected is None:
        typer.echo(f"{found.name} is discarded; nothing waited for it")
    else:
        what = "the whole request" if rejected.documents is None else ", ".join(rejected.documents)
        typer.echo(f"{found.name} is discarded; request {rejected.request_id}: {what} ends as rejected: poison")


def _find(kafka: KafkaAccess, name: str) -> Letter:
    wanted, _, number = name.rpartition(":")
    topic: Topic | None = topics.TOPICS.get(wanted.removesuffix(".dlq"))
    if topic is None or not number.isdecimal():
        fail(f"{name} is no letter: write TOPIC:NUMBER as `dlq list` shows it")
    found = next((letter for letter in run(_box(kafka).read(topic)) if letter.number == int(number)), None)
    if found is None:
        fail(f"there is no letter {name} (any more): see `dlq list --all`")
    return found


def _signer(secrets: Path | None) -> Sign:
    try:
        key = None if secrets is None else read_secret(secrets / PRODUCER_KEY)
        if key is None:
            fail(f"what ends a request is signed with {PRODUCER_KEY}, and GPKI_SECRETS_DIR names no directory with it")
        return EventSigner(key, known=lambda _: True)
    except ConfigurationError as error:
        fail(str(error))


def _box(kafka: KafkaAccess) -> DeadLetters:
    return DeadLetters(kafka, utc_now)


if __name__ == "__main__":
    sys.exit(gpki(prog_name="gpki"))
