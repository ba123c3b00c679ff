"""The ceiling of the day: what is split over requests passes it no more than what is asked at once."""

from decimal import Decimal

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.state import User
from tests.integration.otp_dispatch.conftest import Dispatching
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH, with_phone
from tests.support.devices import Phone
from tests.support.requests import document, header, medium_resolved
from tests.support.waiting import eventually


def request_of(dispatching: Dispatching, user: User, amount: str, currency: str = "MYR") -> MediumResolved:
    listed = [document(0, amount=amount, currency=currency)]
    return medium_resolved(header(user.user), listed, dispatching.caller, channels=BOTH)


async def settled(dispatching: Dispatching, events: list[MediumResolved]) -> list[MediumResolved]:
    """Wait until each got its code or its end; those that got a code."""

    def every() -> bool:
        return all(dispatching.all_dispatched(one) or dispatching.all_rejected(one) for one in events)

    await dispatching.tap.until(every, "each is settled")
    return [one for one in events if dispatching.all_dispatched(one)]


@pytest.mark.parametrize("channel", ["email", "gpki_mobile"])
@pytest.mark.parametrize(("ceiling", "sent"), [(Decimal(1000), 2), (None, 5)])
async def test_of_what_is_split_no_more_goes_by_a_channel_than_the_day_allows_over_two_replicas(
    dispatching: Dispatching, channel: str, ceiling: Decimal | None, sent: int
) -> None:
    """I-54: switched off, all of it goes; another officer has a sum of his own."""
    await dispatching.publish_keys()
    setting = {f"{channel}_otp_daily_ceiling_myr": ceiling}
    async with dispatching.replica(**setting), dispatching.replica(**setting):
        user, other = await dispatching.user(channels=BOTH), await dispatching.user(channels=BOTH)
        if channel == "gpki_mobile":
            user = await with_phone(dispatching, Phone())
        events = [request_of(dispatching, user, "400.00") for _ in range(5)]
        await dispatching.room.send(
            dispatching.routes.medium_resolved, [*events, request_of(dispatching, other, "900.00")]
        )
        went = await settled(dispatching, events)
        assert len(went) == sent
        refused = [dispatching.all_rejected(one)[0] for one in events if one not in went]
        assert {one.reason for one in refused} <= {Reason.OTP_CHANNEL_NOT_ALLOWED}
        await eventually(lambda: dispatching.sink.mails(other.email), "the other officer has his code")
    by_email = 0 if channel == "gpki_mobile" else sent
    assert len(dispatching.sink.mails(user.email)) == by_email


async def test_what_went_by_email_counts_for_gpki_mobile_too_and_a_request_once(dispatching: Dispatching) -> None:
    """I-54: otherwise there were two days in one."""
    await dispatching.publish_keys()
    async with dispatching.replica(gpki_mobile_otp_daily_ceiling_myr=Decimal(1000)):
        user = await with_phone(dispatching, Phone())
        first = request_of(dispatching, user, "600.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [first])
        assert (await dispatching.dispatched(first)).channel == "gpki-mobile"
        assert (await dispatching.answer(await dispatching.resend(first, channel="e-mail"))).number == 2
        above, fits = request_of(dispatching, user, "400.01"), request_of(dispatching, user, "400.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [above, fits])
        assert await settled(dispatching, [above, fits]) == [fits]
        (refused,) = dispatching.all_rejected(above)
        assert refused.detail == "the total of the day is too high for gpki-mobile and e-mail"


async def test_a_request_counts_once_for_a_day_and_what_goes_to_a_phone_not_at_all(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica(email_otp_daily_ceiling_myr=Decimal(1000)):
        user, mobile = await dispatching.user(channels=BOTH), await with_phone(dispatching, Phone())
        first = request_of(dispatching, user, "900.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [first])
        await dispatching.dispatched(first)
        assert (await dispatching.answer(await dispatching.resend(first))).number == 2
        foreign, above = request_of(dispatching, user, "1.00", "USD"), request_of(dispatching, user, "100.01")
        fits = request_of(dispatching, user, "100.00")
        phoned = [request_of(dispatching, mobile, "900.00") for _ in range(3)]
        await dispatching.room.send(dispatching.routes.medium_resolved, [foreign, above, fits, *phoned])
        assert await settled(dispatching, [foreign, above, fits, *phoned]) == [fits, *phoned]
        assert {one.channel for each in phoned for one in dispatching.all_dispatched(each)} == {"gpki-mobile"}
        # By e-mail all the same, because the phone is away: that counts, and the next one stays with the phone.
        assert (await dispatching.answer(await dispatching.resend(phoned[0], channel="e-mail"))).number == 2
        held = await dispatching.answer(await dispatching.resend(phoned[1], channel="e-mail"))
        assert (held.number, held.refusal) == (None, "channel-unavailable")
        await dispatching.room.pool.execute("update code set reserved_at = reserved_at - interval '1 day'")
        again = request_of(dispatching, user, "1000.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [again])
        await dispatching.dispatched(again)


async def test_a_code_that_no_mailbox_took_counts_for_nothing(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica(email_otp_daily_ceiling_myr=Decimal(1000)):
        user = await dispatching.user()
        dispatching.sink.rules(**{user.email: {"rcpt": "550 5.1.1 No such user"}})
        lost = request_of(dispatching, user, "900.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [lost])
        assert (await dispatching.rejected(lost)).reason is Reason.OTP_UNDELIVERABLE
        dispatching.sink.rules()
        next_one = request_of(dispatching, user, "900.00")
        await dispatching.room.send(dispatching.routes.medium_resolved, [next_one])
        await dispatching.dispatched(next_one)
