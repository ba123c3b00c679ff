"""The ceiling of the day: what an officer's requests may come to that are authorised by a channel (OTP-7).

The ceiling of one request would be passed by several small ones. Every request of the last 24 hours counts for which a
code went by that channel, or one of lower assurance, once, whether or not the code was used: what is used late cannot
be missed.
"""

from dataclasses import replace
from decimal import Decimal

from libs.contracts.signing import Channel
from libs.storage.pool import Connection
from services.otp_dispatch import store
from services.otp_dispatch.channels import BOUNDS, Ceilings
from services.otp_dispatch.dispatch import Failed, Ready, not_allowed


async def within_day(connection: Connection, one: Ready, ceilings: Ceilings) -> Ready | Failed:
    """The same without the channels for which the day's sum would pass a ceiling; Failed when none is left.

    Call it under `lock_officers`, so that two requests at once count each other.
    """
    passed: set[Channel] = set()
    for channel, ceiling in ceilings.items():
        bounded = BOUNDS[channel]
        if ceiling.day is not None and any(option.channel in bounded for option in one.options):
            before = await store.sum_of_day(connection, one.header.user, bounded, but=one.event.request_id)
            if before + one.total > ceiling.day:
                passed.update(bounded)
    others = tuple(option for option in one.options if option.channel not in passed)
    return replace(one, options=others) if others else not_allowed("the total of the day", one.options)


def counted(one: Ready, channel: Channel, ceilings: Ceilings) -> Decimal | None:
    """What a code by this channel counts against the day; None where no ceiling is for it."""
    bounds = any(channel in BOUNDS[each] for each, ceiling in ceilings.items() if ceiling.day is not None)
    return one.total if bounds else None
