"""`gpki order`: what registrars order of an officer's certificate and PIN. One takes away, two give back.

Who runs it needs no right but to write what callers write: what counts is the registrars' signatures.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar
from uuid import uuid4

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from libs.contracts import topics
from libs.contracts.base import Event, Exact
from libs.contracts.enrolment import (
    AdministratorSignature,
    Revocation,
    RevocationReason,
    RevocationRequested,
    revocation_signature_input,
)
from libs.contracts.pin import PinAnswered, PinUnlock, PinUnlockOrdered, pin_unlock_signature_input
from libs.contracts.state import Certificate
from libs.contracts.suspension import (
    Lifting,
    LiftingRequested,
    SignedLifting,
    Suspension,
    SuspensionRequested,
    lifting_signature_input,
    suspension_signature_input,
)
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.secret_files import publish
from libs.runtime.settings import ConfigurationError
from services.operations import database
from services.operations.officers import ANSWER_SECONDS, Answers, Officer, officers
from services.operations.people import KeyFile, own_key, signature
from services.operations.terminal import Kafka, escaped, fail, run

commands = typer.Typer(no_args_is_help=True, help="Registrars' orders about an officer's certificate or PIN.")

Number = Annotated[str, typer.Argument(metavar="OFFICER", help="the officer's number, as the platform has it")]
Pki = Annotated[Path, database.option("GPKI_PKI_DIR", "directory with the pinned `service_root.pem`")]
File = Annotated[Path, typer.Option(help="the order's file: the first registrar makes it, the second signs and sends")]
Order = TypeVar("Order", Lifting, PinUnlock)

NO_ANSWER: Final = (
    f"the order is sent, and nothing came of it within {ANSWER_SECONDS:.0f} s: `gpki dlq list` says why it was put "
    "aside, if it was, or certificate_authority or hsm_signer does not run (`gpki doctor`)"
)


class Half(Exact):
    """What one registrar has signed, and another is to sign too."""

    order: Lifting | PinUnlock
    first: AdministratorSignature


@commands.command()
def suspend(officer: Number, *, kafka: Kafka, key: KeyFile, pki: Pki) -> None:
    """Suspend the officer's certificate at once: one registrar is enough, and two give it back (`lift`)."""
    me, who = own_key(key), _known(kafka, pki, officer)
    order = Suspension(suspension=uuid4(), credential_id=who.certificate.credential_id, ordered_at=_now())
    mine = signature(me, suspension_signature_input(order))
    event = SuspensionRequested(suspension=order, registrar_key=mine.key_id, signature=mine.signature)
    _follow(kafka, pki, who, topics.SUSPENSION_REQUESTED, event)


@commands.command()
def revoke(
    officer: Number,
    *,
    kafka: Kafka,
    key: KeyFile,
    pki: Pki,
    reason: Annotated[RevocationReason, typer.Option(help="what the CRL says")],
    yes: Annotated[bool, typer.Option("--yes", help="do it: nothing takes it back, and the key is destroyed")] = False,
) -> None:
    """Revoke the officer's certificate for good; without --yes only say whose it is."""
    me, who = own_key(key), _known(kafka, pki, officer)
    order = Revocation(
        revocation=uuid4(), credential_id=who.certificate.credential_id, reason=reason, ordered_at=_now()
    )
    if not yes:
        fail("nothing is done: a revocation is for good. With --yes it is ordered")
    mine = signature(me, revocation_signature_input(order))
    event = RevocationRequested(revocation=order, registrar_key=mine.key_id, signature=mine.signature)
    _follow(kafka, pki, who, topics.REVOCATION_REQUESTED, event)


@commands.command()
def lift(officer: Number, *, kafka: Kafka, key: KeyFile, pki: Pki, file: File) -> None:
    """Lift the suspension of the officer's certificate: two registrars, each after asking why it was."""
    me, who = own_key(key), _known(kafka, pki, officer)
    state = who.certificate
    if state.status != "suspended":
        fail(f"the certificate is {state.status}: there is no suspension to lift")
    wanted = Lifting(lifting=uuid4(), credential_id=state.credential_id, version=state.version, ordered_at=_now())
    signed = _second(me, file, wanted, lifting_signature_input)
    if signed is None:
        return
    order, signatures = signed
    if order.version != state.version:
        fail(f"{file} is of an older suspension: delete it, and begin anew")
    event = LiftingRequested(signed=SignedLifting(lifting=order, signatures=signatures))
    _follow(kafka, pki, who, topics.LIFTING_REQUESTED, event)


@commands.command()
def unlock(officer: Number, *, kafka: Kafka, key: KeyFile, pki: Pki, file: File) -> None:
    """Give a locked PIN its tries again: two registrars, each after having seen whom they have before them."""
    me, who = own_key(key), _known(kafka, pki, officer)
    wanted = PinUnlock(unlock=uuid4(), credential_id=who.certificate.credential_id, ordered_at=_now())
    signed = _second(me, file, wanted, pin_unlock_signature_input)
    if signed is None:
        return
    order, signatures = signed
    event = PinUnlockOrdered(order=order, signatures=signatures)

    def answers(one: Event) -> bool:
        return isinstance(one, PinAnswered) and one.answers == order.unlock

    found = _sent(kafka, pki, who, event, on=topics.PIN_UNLOCK_ORDERED, answer=topics.PIN_ANSWERED, answers=answers)
    if not isinstance(found, PinAnswered) or found.result != "unlocked":
        fail("nothing was unlocked: the PIN is not locked, or there is no key (any more)")
    typer.echo("the PIN is unlocked; the officer is told")


def _known(kafka: KafkaAccess, pki: Path, number: str) -> Officer:
    """Whom an order is about, which is told before anything is signed. Ends the command when nobody is known."""

    async def find() -> Officer | None:
        async with officers(kafka, pki) as known:
            return await known.find(number)

    try:
        found = run(find())
    except ConfigurationError as error:
        fail(str(error))
    if found is None:
        fail(f"no officer {escaped(number)} is known, or none with a certificate")
    state = found.certificate
    typer.echo(
        f"{escaped(found.user.name)}, {escaped(found.user.office)}: certificate {state.credential_id} "
        f"({state.medium}), {state.status} since {state.status_since:%Y-%m-%d %H:%M:%S}Z"
    )
    return found


def _second(
    me: Ed25519PrivateKey, file: Path, wanted: Order, content: Callable[[Order], bytes]
) -> tuple[Order, tuple[AdministratorSignature, AdministratorSignature]] | None:
    """What is in the file, signed by both; None when nothing was there, and the order was begun with my signature."""
    if not file.exists():
        mine = signature(me, content(wanted))
        publish(file, Half(order=wanted, first=mine).model_dump_json(indent=1).encode())
        typer.echo(f"signed by one, and not sent: {file}. Another registrar gives the same command within a day")
        return None
    try:
        half = Half.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        fail(f"{file} is no order that one registrar has signed: name another file, which is made")
    order = half.order
    if not isinstance(order, type(wanted)) or order.credential_id != wanted.credential_id:
        fail(f"{file} is an order for something else: {order.model_dump_json()}")
    mine = signature(me, content(order))
    if mine.key_id == half.first.key_id:
        fail(f"{file} has your signature; it takes another registrar's, with another key")
    typer.echo(order.model_dump_json())
    return order, (half.first, mine)


def _follow(kafka: KafkaAccess, pki: Path, who: Officer, topic: Topic, order: Event) -> None:
    """Send it, and tell the state that came of it."""
    before = who.certificate

    def answers(one: Event) -> bool:
        return (
            isinstance(one, Certificate) and one.credential_id == before.credential_id and one.version > before.version
        )

    found = _sent(kafka, pki, who, order, on=topic, answer=topics.CERTIFICATE, answers=answers)
    if isinstance(found, Certificate):
        typer.echo(f"the certificate is {found.status} since {found.status_since:%Y-%m-%d %H:%M:%S}Z")


def _sent(
    kafka: KafkaAccess, pki: Path, who: Officer, order: Event, *, on: Topic, answer: Topic, answers: Answers
) -> Event:
    """The answer to an order. Ends the command when there is none."""

    async def follow() -> Event | None:
        async with officers(kafka, pki) as known:
            key = str(who.certificate.credential_id)
            return await known.follow(on, order, answer, key, until=answers)

    found = run(follow())
    return fail(NO_ANSWER) if found is None else found


def _now() -> datetime:
    """Whole seconds, as an order is signed."""
    return utc_now().replace(microsecond=0)
