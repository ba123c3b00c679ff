"""`medium-resolved` and `resend-requested` in, codes and answers out: reserve the code, send it, record it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Unavailable
from libs.bus.trust import usable_key
from libs.bus.work import Work
from libs.contracts.reasons import Reason
from libs.contracts.signing import MAX_LIVE_CHALLENGES
from libs.contracts.state import Key, User
from libs.contracts.waiting import Waiting, WaitsFor
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Connection
from services.otp_dispatch import address_store, store
from services.otp_dispatch.addresses import Place
from services.otp_dispatch.ceiling import counted, within_day
from services.otp_dispatch.channels import Ceilings, Destination, Mailbox
from services.otp_dispatch.code_box import CodeLost
from services.otp_dispatch.codes import FIRST, Codes
from services.otp_dispatch.conclusion import Sent, conclude
from services.otp_dispatch.dispatch import Asked, Failed, History, Ready, judge, undeliverable, wait
from services.otp_dispatch.mail import mail
from services.otp_dispatch.pacing import Officer, pace
from services.otp_dispatch.relay import NO_ANSWER, RELAY, Deferred, Delivered, Refused
from services.otp_dispatch.routes import Routes
from services.otp_dispatch.sealing_key import SEALING_KEY, newest_sealing_key
from services.otp_dispatch.store import Reservation
from services.otp_dispatch.under_way import Deliveries, UnderWay

SERVICE = "otp_dispatch"

MAILS_AT_ONCE = 8
"""Messages under way to the relay, each on a connection of its own."""

LOOK_AGAIN = timedelta(seconds=2)
"""Between two looks at a message that is under way."""

TOLD_AWAY = {RELAY: WaitsFor.RELAY, SEALING_KEY: WaitsFor.SEALING_KEY}
"""What the officer is told of a dependency that is away."""

Decided = Sent | Failed | Outcome

Reserved = Reservation | Failed | Park
"""A code, or why there is none, or none yet."""

log = structlog.get_logger()


class OtpDispatch:
    """The handler of whatever asks for a code. Any number of replicas: a code belongs to the request."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        codes: Codes,
        sender: str,
        service_root: bytes,
        routes: Routes,
        clock: Clock,
        ceilings: Ceilings,
    ) -> None:
        self._deliveries = deliveries
        self._codes = codes
        self._sender = sender
        self._service_root = service_root
        self._routes = routes
        self._ceilings = ceilings
        self._clock = clock

    async def handle(self, work: Work[Asked]) -> None:
        """Settle what could be decided, then raise what kept the rest: Unavailable for relay or sealing key."""
        judged = await self._judge(work)
        ready = {identifier: what for identifier, what in judged.items() if isinstance(what, Ready)}
        decided: dict[UUID, Decided] = {
            identifier: what for identifier, what in judged.items() if not isinstance(what, Ready)
        }
        failures: list[BaseException] = []
        if ready:
            try:
                reservations = await self._reserve(work, ready)
            except Unavailable as unavailable:
                failures.append(unavailable)
            else:
                for identifier, result in (await self._send_all(work, ready, reservations)).items():
                    if isinstance(result, BaseException):
                        failures.append(result)
                    else:
                        decided[identifier] = result
        await self._record(work, decided)
        if failures:
            away = {one.dependency for one in failures if isinstance(one, Unavailable)}
            left = [delivery for delivery in work.deliveries if delivery.id not in decided]
            for dependency in away & TOLD_AWAY.keys():
                async with work.recording() as recording:
                    recording.say_away(self._routes.waiting, "otp_dispatch", TOLD_AWAY[dependency], left)
            raise failures[0]

    async def _judge(self, work: Work[Asked]) -> dict[UUID, Ready | Failed | Outcome]:
        events = [delivery.event for delivery in work.deliveries]
        async with work.reserving() as connection:
            keys = {
                key_id: await state.key(connection, key_id, "caller")
                for key_id in {event.signed.caller_key for event in events}
            }
            ids = {event.signed.manifest.header.user for event in events}
            users = {user: await state.user(connection, user) for user in ids}
            places = await address_store.places(connection, ids)
            histories = await store.history(connection, {event.request_id for event in events})
        return await asyncio.to_thread(self._judge_all, work.deliveries, keys, users, places, histories)

    def _judge_all(
        self,
        deliveries: Sequence[Delivery[Asked]],
        keys: Mapping[str, Key | None],
        users: Mapping[str, User | None],
        places: Mapping[str, Sequence[Place]],
        histories: Mapping[UUID, History],
    ) -> dict[UUID, Ready | Failed | Outcome]:
        now = self._clock()
        return {
            delivery.id: judge(
                delivery.event,
                # Judged when it was asked for: a key that is retired meanwhile does not strand what is under way.
                identity=usable_key(
                    keys[delivery.event.signed.caller_key], self._service_root, delivery.event.requested_at
                ),
                key_known=keys[delivery.event.signed.caller_key] is not None,
                user=users[delivery.event.signed.manifest.header.user],
                appended_at=delivery.appended_at,
                waited=delivery.parked is not None,
                now=now,
                history=histories[delivery.event.request_id],
                ceilings=self._ceilings,
                places=places[delivery.event.signed.manifest.header.user],
            )
            for delivery in deliveries
        }

    async def _reserve(self, work: Work[Asked], ready: Mapping[UUID, Ready]) -> dict[UUID, Reserved]:
        """RESERVE: code, number, channel and Message-ID are fixed before anything is sent. Raises Unavailable."""
        found: dict[UUID, Reserved] = {}
        async with work.reserving() as connection:
            sealing_key = newest_sealing_key(await state.keys(connection, "sealing"), self._service_root, self._clock())
            if sealing_key is None:
                raise Unavailable(SEALING_KEY)
            users = {one.header.user for one in ready.values()}
            officers = await store.lock_officers(connection, users, self._clock())
            # In the order of requests, so that two never deadlock.
            for identifier, one in sorted(ready.items(), key=lambda item: item[1].event.request_id):
                number = FIRST
                if one.resend is not None:
                    await store.lock(connection, one.event.request_id)
                    number = await store.number(connection, one.event.request_id, one.resend)
                officer = officers[one.header.user]
                found[identifier] = await self._reserved(connection, one, number, officer, sealing_key)
        return found

    async def _reserved(
        self, connection: Connection, one: Ready, number: int, officer: Officer, sealing_key: X25519PublicKey
    ) -> Reserved:
        """The code of this number: the one that it has, or a new one if the officer may be sent another."""
        if number > MAX_LIVE_CHALLENGES:
            return Failed("too-many-codes")
        kept = await store.reserved(connection, one.event.request_id, number)
        if kept is not None:
            return kept
        now = self._clock()
        held = pace(officer, now)
        if held is not None:
            return self._held(one, held.until)
        within = await within_day(connection, one, self._ceilings)
        if isinstance(within, Failed):
            return within
        made = self._codes.make(within, sealing_key, number, taken=officer.references)
        await store.reserve(connection, made, one.header.user, counted(one, made.channel, self._ceilings))
        officer.unanswered.insert(0, now)
        officer.references.add(made.reference_code)
        return made

    async def _send_all(
        self, work: Work[Asked], ready: Mapping[UUID, Ready], reservations: Mapping[UUID, Reserved]
    ) -> dict[UUID, Decided | BaseException]:
        """ACT, outside any transaction; the first that finds the relay away spares the other mails the wait."""
        slots = asyncio.Semaphore(MAILS_AT_ONCE)
        away: list[Unavailable] = []

        async def send(delivery: Delivery[Asked]) -> Decided:
            one, reservation = ready[delivery.id], reservations[delivery.id]
            async with slots:
                if away and isinstance(reservation, Reservation) and reservation.channel == Mailbox.channel:
                    raise away[0]
                try:
                    return await self._send(delivery, one, reservation)
                except Unavailable as unavailable:
                    away.append(unavailable)
                    raise

        chosen = [delivery for delivery in work.deliveries if delivery.id in ready]
        results = await asyncio.gather(*map(send, chosen), return_exceptions=True)
        return {delivery.id: result for delivery, result in zip(chosen, results, strict=True)}

    async def _send(self, delivery: Delivery[Asked], one: Ready, reservation: Reserved) -> Decided:
        if not isinstance(reservation, Reservation):
            return reservation
        if reservation.delivered_at is not None:
            return Done()  # a twin has recorded it meanwhile, or it came again under another id: never a second time
        to = one.by(reservation.channel)
        if to is None:
            return undeliverable("the officer has this channel no more", one.new_from)
        try:
            otp = self._codes.open(one, reservation)
        except CodeLost:
            metrics.alarm(SERVICE, "code-lost", request_id=str(one.event.request_id))
            return Failed("channel-unavailable", detail="the code is gone")
        if isinstance(to, Mailbox):
            held = await self._mail(delivery, one, to, reservation, otp)
            if held is not None:
                return held
        return await asyncio.to_thread(self._sent, one, to, reservation, otp)

    def _held(self, one: Ready, until: datetime) -> Failed | Park:
        """What is over the pace waits if it can still be in time; it ends nothing but itself."""
        if until < one.deadline:
            return self._park(one, WaitsFor.OTP_PACE, until - self._clock(), WaitsFor.OTP_PACE, self._clock())
        metrics.alarm(SERVICE, Reason.OTP_HELD, request_id=str(one.event.request_id), until=str(until))
        return Failed("held", Reason.OTP_HELD, held_until=until)

    def _sent(self, one: Ready, to: Destination, reservation: Reservation, otp: str) -> Sent:
        return Sent(self._codes.dispatched(one, to, reservation, otp, delivered_at=self._clock()))

    async def _mail(
        self, delivery: Delivery[Asked], one: Ready, to: Mailbox, reservation: Reservation, otp: str
    ) -> Failed | Park | None:
        """Give it to the relay; None when it was delivered. Raises Unavailable."""
        lifetime = self._codes.lifetimes[to.channel]
        content = await asyncio.to_thread(
            mail, one, to, reservation, otp, sender=self._sender, now=self._clock(), lifetime=lifetime
        )
        answer = await self._deliveries.deliver(
            reservation.message_id, content, sender=self._sender, recipient=to.address
        )
        now = self._clock()
        log.info("mail", request_id=str(one.event.request_id), answer=type(answer).__name__)
        match answer:
            case Delivered():
                return None
            case Refused(reply):
                return undeliverable(f"the mailbox refused: {reply}", one.new_from)
            case UnderWay():
                return self._park(one, WaitsFor.MAILBOX, LOOK_AGAIN, "mailbox not answered for", now)
            case Deferred(reply):
                if now >= one.deadline:
                    return Failed("too-late", detail=f"the mailbox refused until now: {reply}")
                tries = 0 if delivery.parked is None else delivery.parked.tries + 1
                if answer == NO_ANSWER:
                    tries = 0  # who fell silent was waited for already
                after = wait(tries, now=now, deadline=one.deadline)
                return self._park(one, WaitsFor.MAILBOX, after, f"mailbox {reply}", now)

    def _park(self, one: Ready, told: WaitsFor, after: timedelta, why: str, now: datetime) -> Park:
        waiting = Waiting(
            request_id=one.event.request_id,
            documents=None,
            stage="otp_dispatch",
            why=told,
            next_look=now + after,
        )
        # At each look under one event id: what was recorded first is told, once.
        return Park(after, why, (Emit(self._routes.waiting, waiting),))

    async def _record(self, work: Work[Asked], decided: Mapping[UUID, Decided]) -> None:
        """RECORD: with the event the code is wiped, in one transaction."""
        deliveries = [delivery for delivery in work.deliveries if delivery.id in decided]
        if not deliveries:
            return
        async with work.recording(*deliveries) as recording:
            for delivery in sorted(recording.deliveries, key=lambda delivery: delivery.event.request_id):
                await store.lock(recording.connection, delivery.event.request_id)
                what = await conclude(recording.connection, delivery.event, decided[delivery.id], self._routes)
                recording.settle(delivery, what)
