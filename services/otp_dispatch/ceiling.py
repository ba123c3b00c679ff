"""The ceiling of the day: what an officer's requests may come to that are authorised by e-mail (OTP-7).

The ceiling of one request would be passed by several small ones. Every request of the last 24 hours counts for which a
code went by e-mail, once, whether or not the code was used: what is used late cannot be missed.
"""

from dataclasses import replace
from decimal import Decimal

from libs.contracts.reasons import Reason
from libs.storage.pool import Connection
from services.otp_dispatch import store
from services.otp_dispatch.channels import Mailbox
from services.otp_dispatch.dispatch import Failed, Ready


async def within_day(connection: Connection, one: Ready, ceiling: Decimal | None) -> Ready | Failed:
    """The same without e-mail where the day's sum would pass the ceiling; Failed when nothing else is left.

    Call it under `lock_officers`, so that two requests at once count each other.
    """
    if ceiling is None or not any(isinstance(option, Mailbox) for option in one.options):
        return one
    mailed = await store.mailed(connection, one.header.user, one.event.request_id)
    if mailed + one.total <= ceiling:
        return one
    others = tuple(option for option in one.options if not isinstance(option, Mailbox))
    if others:
        return replace(one, options=others)
    detail = "the total of the day is too high for e-mail"
    return Failed("channel-unavailable", Reason.OTP_CHANNEL_NOT_ALLOWED, detail)
