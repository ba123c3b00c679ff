"""`gpki.user.v1`, `gpki.certificate.v1` and `pin-answered`: what changes of an officer, and who is told."""

from collections.abc import Sequence
from typing import Final, TypeVar
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Park
from libs.bus.work import Recording, Work
from libs.contracts.pin import PinAnswered
from libs.contracts.signing import Channel
from libs.contracts.state import Certificate, User
from libs.runtime.clock import Clock
from libs.storage import state
from services.otp_dispatch import address_store
from services.otp_dispatch.addresses import Place, changes, in_use, mailboxes, moved
from services.otp_dispatch.channels import Phone, is_plain, masked
from services.otp_dispatch.notice_text import Change, Told, notice_of
from services.otp_dispatch.notices import GIVE_UP, Notices

E = TypeVar("E", PinAnswered, Certificate)


class Officers:
    """The handlers. They send nothing themselves, and wait for no relay."""

    def __init__(self, notices: Notices, clock: Clock) -> None:
        self._notices = notices
        self._clock = clock

    async def project(self, work: Work[User]) -> None:
        """Keep `gpki.user.v1`: the newest of each, since when codes go where, and a notice to all of before.

        An older state than ours changes nothing. When one came is the broker's word, whatever it says itself.
        """
        async with work.recording(*work.deliveries) as recording:
            deliveries = sorted(recording.deliveries, key=lambda one: (one.event.user, one.event.version))
            ids = {delivery.event.user for delivery in deliveries}
            known = await address_store.lock_users(recording.connection, ids)
            places = await address_store.places(recording.connection, ids)
            begun = await address_store.begun(recording.connection, ids)
            emits: dict[UUID, tuple[Emit, ...]] = {}
            for delivery in deliveries:
                user, at = delivery.event, delivery.appended_at
                before = known.get(user.user)
                if before is not None and before.version >= user.version:
                    continue
                after = moved(places[user.user], before, user, at=at, begun=user.user in begun)
                await address_store.put_places(recording.connection, user.user, after)
                if before is not None and (what := changes(before, user)):
                    emits[delivery.id] = await self._notices.fix(
                        recording,
                        delivery,
                        user=user.user,
                        text=notice_of([_told(change, user, after) for change in what], at=at),
                        addresses=mailboxes(places[user.user], before),
                        device=before.device,
                    )
                known[user.user], places[user.user] = user, after
            await state.put_users(recording.connection, [delivery.event for delivery in deliveries])
            for delivery in recording.deliveries:
                recording.settle(delivery, Done(emits.get(delivery.id, ())))

    async def pin_answered(self, work: Work[PinAnswered]) -> None:
        """`pin-answered`: a PIN that was changed or unlocked is told to the officer's mailbox and phone (PIN-5)."""
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                change = _PIN.get(delivery.event.result)
                user = await state.user(recording.connection, delivery.event.user) if change else None
                emits = await self._tell(recording, delivery, change, user) if change and user else ()
                recording.settle(delivery, Done(emits))

    async def certificate(self, work: Work[Certificate]) -> None:
        """`gpki.certificate.v1`: a suspension, its end and a revocation are told to the officer's mailbox and phone.

        Not what is old: the topic keeps the state of every certificate, and is read from its beginning at first.
        """
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                change = _standing(delivery.event)
                emits: tuple[Emit, ...] = ()
                if change is not None and self._clock() - delivery.appended_at <= GIVE_UP:
                    user = await state.user(recording.connection, delivery.event.user)
                    if user is None and delivery.parked is None:
                        recording.settle(delivery, Park(OVERTAKEN, "user-unknown"))
                        continue
                    emits = await self._tell(recording, delivery, change, user) if user else ()
                recording.settle(delivery, Done(emits))

    async def _tell(
        self, recording: Recording[E], delivery: Delivery[E], change: Change, user: User
    ) -> tuple[Emit, ...]:
        """Fix the notices of what was done to this officer's certificate or PIN; also where codes still go."""
        kept = (await address_store.places(recording.connection, [user.user]))[user.user]
        mailbox: Place | None = in_use(kept, "e-mail", self._clock())
        return await self._notices.fix(
            recording,
            delivery,
            user=user.user,
            text=notice_of([Told(change)], at=delivery.appended_at),
            addresses=dict.fromkeys([user.email, *([] if mailbox is None else [mailbox.value])]),
            device=user.device,
        )


def _standing(certificate: Certificate) -> Change | None:
    """What a state says that its officer is told of; of a new certificate `gpki.user.v1` tells."""
    if certificate.status == "good":
        return None if certificate.version == 1 else "certificate-lifted"
    return "certificate-suspended" if certificate.status == "suspended" else "certificate-revoked"


_PIN: Final[dict[str, Change]] = {"changed": "pin-changed", "unlocked": "pin-unlocked"}


def _told(change: Change, user: User, after: Sequence[Place]) -> Told:
    """What a notice says of one change; the new mailbox or device only as its owner knows it."""
    channel = _CHANNELS.get(change)
    if channel is None:
        return Told(change)
    place = next((one for one in after if one.channel == channel and one.until is None), None)
    works_from = None if place is None else place.works_from
    if channel == "gpki-mobile":
        return Told(change, "-" if user.device is None else Phone(user.device).hint, works_from)
    return Told(change, masked(user.email) if is_plain(user.email) else "-", works_from)


_CHANNELS: Final[dict[Change, Channel]] = {"e-mail-changed": "e-mail", "device-changed": "gpki-mobile"}
