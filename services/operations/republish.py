"""`gpki republish`: what a service recorded and Kafka no longer has is published once more, under the same ids."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from aiokafka.errors import CommitFailedError

from libs.contracts import topics
from libs.contracts.signing import AuthorisationSubmitted
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess
from services.operations import database, outcomes
from services.operations.cluster import first_times, look, move
from services.operations.database import MIGRATIONS, Database
from services.operations.gaps import Gap, Missed, gaps_of, groups_of, missed_of
from services.operations.terminal import Kafka, fail, run

commands = typer.Typer(no_args_is_help=True, help="Publish again what Kafka no longer has: the recorded outcomes.")

Yes = Annotated[bool, typer.Option("--yes", help="do it; without, it is only told what would be done")]
TIME = typer.Option(help="UTC, as 2026-11-28T06:00:00")


@commands.command("gap")
def republish_gap(
    service: Annotated[str, typer.Argument(help="the service that met deleted records, and is stopped now")],
    *,
    kafka: Kafka,
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    yes: Yes = False,
    outsiders_send_again: Annotated[
        bool,
        typer.Option("--outsiders-send-again", help="go on though records that outsiders wrote are gone"),
    ] = False,
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
) -> None:
    """Publish what SERVICE missed, then have it go on from where its topics begin: `log-start-passed`."""
    if service not in MIGRATIONS:
        fail(f"no service is named {service}; there are {', '.join(MIGRATIONS)}")
    ledgers = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    cluster = run(look(kafka, topics.TOPICS))
    groups = groups_of(service, cluster)
    gaps = gaps_of(groups, cluster.begins)
    if not gaps:
        typer.echo(f"There is no gap: what {service} has yet to read is on its topics.")
        return
    firsts = run(first_times(kafka, {gap.place for gap in gaps}))
    missed = run(missed_of(ledgers, service, gaps, firsts))
    for one in missed:
        typer.echo(_told(one))
    if not yes:
        typer.echo("Nothing was done. --yes publishes them, and moves the group on.")
        return
    busy = [f"{group.name} ({group.members})" for group in groups if group.members]
    if busy:
        fail(f"{service} runs: stop it on every host first. In its group: {', '.join(busy)}")
    outsiders = [one.topic.name for one in missed if one.topic.outsiders]
    if outsiders and not outsiders_send_again:
        fail(
            f"what outsiders wrote on {', '.join(outsiders)} is in nobody's ledger: have its senders send again what "
            f"has no end (twice does no harm), and say so by --outsiders-send-again"
        )
    for one in missed:
        _publish(ledgers, kafka, one.topic, one.outcomes)
    _move(kafka, gaps)
    typer.echo(f"{service} goes on from where its topics begin: start it.")


@commands.command("span")
def republish_span(
    topic: Annotated[str, typer.Argument(help="a topic's name, as `gpki topics` shows it")],
    *,
    since: Annotated[datetime, TIME],
    kafka: Kafka,
    postgres_host: database.Host,
    postgres_user: database.User,
    secrets: database.Secrets,
    until: Annotated[datetime | None, TIME] = None,
    yes: Yes = False,
    postgres_port: database.Port = database.DEFAULT_PORT,
    postgres_database: database.Name = database.DEFAULT_NAME,
) -> None:
    """Publish all that was recorded for TOPIC in this time: for a log that was deleted, or a reader outside.

    Whoever handled one of them before knows it by its id.
    """
    declared = topics.TOPICS.get(topic)
    if declared is None:
        fail(f"no topic is named {topic}: `gpki topics` lists them")
    if declared.event is AuthorisationSubmitted:
        fail("a sealed PIN is never published again: the officer enters it again, or the request expires")
    ledgers = database.database(
        host=postgres_host, port=postgres_port, name=postgres_database, user=postgres_user, secrets=secrets
    )
    last = None if until is None else until.replace(tzinfo=UTC)
    found = run(outcomes.recorded(ledgers, declared, since=since.replace(tzinfo=UTC), until=last))
    typer.echo(f"{topic}: {_by_service(found)}")
    if declared.outsiders:
        typer.echo("  what outsiders wrote is in nobody's ledger: its senders must send it again")
    if not yes:
        typer.echo("Nothing was done. --yes publishes them.")
        return
    _publish(ledgers, kafka, declared, found)


def _told(missed: Missed) -> str:
    where = ", ".join(f"{gap.place.partition} ({gap.committed}..{gap.begin})" for gap in missed.gaps)
    lines = [f"{missed.topic.name}: {missed.deleted} deleted unread; partition {where}"]
    if missed.topic.event is AuthorisationSubmitted:
        return f"{lines[0]}\n  sealed PINs: not published again. Requests that had one end by their expiry, unharmed"
    lines.append(f"  not handled, and recorded: {_by_service(missed.outcomes)}")
    if missed.topic.outsiders:
        lines.append("  what outsiders wrote is in nobody's ledger: its senders must send it again")
    elif missed.found < missed.deleted:
        lines.append(
            f"  the other {missed.deleted - missed.found} were repeats of these, records that nobody could read, or "
            "are in no ledger any more: `gpki trace` tells where a request stands"
        )
    return "\n".join(lines)


def _by_service(found: Mapping[str, Sequence[UUID]]) -> str:
    return ", ".join(f"{len(ids)} by {service}" for service, ids in found.items()) or "none"


def _publish(ledgers: Database, kafka: KafkaAccess, topic: Topic, found: Mapping[str, Sequence[UUID]]) -> None:
    number = sum(map(len, found.values()))
    with typer.progressbar(length=number, label=topic.name) as bar:
        run(outcomes.publish(ledgers, kafka, topic, found, bar.update))
    typer.echo(f"{topic.name}: {number} published again")


def _move(kafka: KafkaAccess, gaps: Sequence[Gap]) -> None:
    for group in sorted({gap.group for gap in gaps}):
        offsets = {gap.place: gap.begin for gap in gaps if gap.group == group}
        try:
            run(move(kafka, group, offsets))
        except CommitFailedError:
            fail(f"somebody has joined {group} meanwhile: stop the service on every host, and do this again")
