"""What becomes of a request, or of an ask for another code, once it is known whether its code was delivered."""

from dataclasses import dataclass
from datetime import datetime

from libs.bus.outcomes import Done, Emit, Outcome
from libs.contracts.resending import ResendAnswered, ResendRefusal, ResendRequested
from libs.contracts.signing import MediumResolved, OtpDispatched
from libs.storage.pool import Connection
from services.otp_dispatch import store
from services.otp_dispatch.dispatch import Asked, Failed, History, rejected
from services.otp_dispatch.routes import Routes


@dataclass(frozen=True)
class Sent:
    """The code was delivered, and this is what follows."""

    event: OtpDispatched


async def conclude(connection: Connection, event: Asked, what: Sent | Failed | Outcome, routes: Routes) -> Outcome:
    """Write what became of the code, and say what follows; in the recording transaction, under the request's lock."""
    if not isinstance(what, Sent | Failed):
        return what
    history = (await store.history(connection, [event.request_id]))[event.request_id]
    if isinstance(event, MediumResolved):
        return await _first(connection, event, what, history, routes)
    return await _another(connection, event, what, history, routes)


async def _first(
    connection: Connection, event: MediumResolved, what: Sent | Failed, history: History, routes: Routes
) -> Outcome:
    if isinstance(what, Sent):
        return Done((await _delivered(connection, what, routes),))
    if history.expires_at is not None:
        # Another code was delivered meanwhile, which the officer asked for: that request is not ended over this one.
        await store.give_up_code(connection, event.request_id, None)
        return Done()
    await store.give_up(connection, event.request_id)
    return rejected(event.signed.manifest.header, what)


async def _another(
    connection: Connection, event: ResendRequested, what: Sent | Failed, history: History, routes: Routes
) -> Outcome:
    if isinstance(what, Sent) and not history.ended:
        dispatched = await _delivered(connection, what, routes)
        return Done((dispatched, _answer(event, history, routes, number=what.event.number)))
    await store.give_up_code(connection, event.request_id, event.resend)
    failed = Failed("too-late") if isinstance(what, Sent) else what
    return Done((_answer(event, history, routes, refusal=failed.refusal, held_until=failed.held_until),))


async def _delivered(connection: Connection, sent: Sent, routes: Routes) -> Emit:
    """With the event the code is wiped."""
    event = sent.event
    await store.delivered(
        connection, event.request_id, event.number, delivered_at=event.delivered_at, expires_at=event.expires_at
    )
    return Emit(routes.otp_dispatched, event)


def _answer(
    event: ResendRequested,
    history: History,
    routes: Routes,
    *,
    number: int | None = None,
    refusal: ResendRefusal | None = None,
    held_until: datetime | None = None,
) -> Emit:
    answered = ResendAnswered(
        request_id=event.request_id,
        resend=event.resend,
        number=number,
        refusal=refusal,
        codes_left=0 if refusal == "too-late" else history.left,
        held_until=held_until,
    )
    return Emit(routes.resend_answered, answered)
