"""`gpki.user.v1`, and `pin-answered`: what changes of an officer, and who is told."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from libs.bus.outcomes import Done, Emit
from libs.bus.work import Work
from libs.contracts.pin import PinAnswered
from libs.contracts.signing import Channel
from libs.contracts.state import User
from libs.runtime.clock import Clock
from libs.storage import state
from services.otp_dispatch import address_store
from services.otp_dispatch.addresses import Place, changes, in_use, mailboxes, moved
from services.otp_dispatch.channels import Phone, is_plain, masked
from services.otp_dispatch.notice_text import Change, Told, notice_of
from services.otp_dispatch.notices import Notices


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
                emits: tuple[Emit, ...] = ()
                if change is not None and user is not None:
                    kept = (await address_store.places(recording.connection, [user.user]))[user.user]
                    now = in_use(kept, "e-mail", self._clock())
                    emits = await self._notices.fix(
                        recording,
                        delivery,
                        user=user.user,
                        text=notice_of([Told(change)], at=delivery.appended_at),
                        addresses=dict.fromkeys([user.email, *([] if now is None else [now.value])]),
                        device=user.device,
                    )
                recording.settle(delivery, Done(emits))


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
