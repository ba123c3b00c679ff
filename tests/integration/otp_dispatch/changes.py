"""What changes of an officer in a test of otp_dispatch, who is told, and how time passes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from libs.contracts.notice import OfficerTold
from libs.contracts.state import User
from tests.integration.otp_dispatch.conftest import SECONDS, Dispatching
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH
from tests.support.devices import Phone
from tests.support.waiting import eventually


async def become(dispatching: Dispatching, user: User, **changes: Any) -> User:
    """A later state of this officer, once it is known."""
    later = user.model_copy(update={"version": user.version + 1, **changes})
    await dispatching.room.send(dispatching.routes.user, [later])
    known = "select count(*) from user_state where user_id = $1 and version >= $2"
    await eventually(lambda: dispatching.room.count(known, user.user, later.version), "the later state is known")
    return later


async def signing(dispatching: Dispatching, **values: Any) -> User:
    """An officer who was sent a code: no longer being enrolled."""
    user = await dispatching.user(**values)
    await dispatching.dispatched(await dispatching.ask(user, channels=BOTH))
    return user


async def pass_time(dispatching: Dispatching, time: timedelta) -> None:
    """So much later: what the broker took is older."""
    await dispatching.room.pool.execute(
        'update place set since = since - $1::interval, works_from = works_from - $1, "until" = "until" - $1', time
    )


async def works_from(dispatching: Dispatching, user: User, value: str) -> datetime:
    """When this place of the officer gets codes, as it is kept."""
    query = "select works_from from place where user_id = $1 and value = $2 order by version desc limit 1"
    found: datetime = await dispatching.room.pool.fetchval(query, user.user, value)
    return found


async def told_to(dispatching: Dispatching, phone: Phone, *, count: int = 1) -> list[dict[str, str]]:
    """What this phone can read of the notices; there are so many of its own."""

    def own() -> list[OfficerTold]:
        records = dispatching.tap.of(dispatching.routes.officer_told)
        events = [OfficerTold.model_validate_json(record.value or b"") for record in records]
        return [one for one in events if one.device.device_id == phone.device_id]

    if count:
        await dispatching.tap.until(lambda: len(own()) >= count, "the phone is told")
    assert len(own()) == count
    return [phone.shown(one) for one in own()]


def elsewhere() -> str:
    return f"baru.{uuid4().hex[:8]}@anm.example"


def notices(dispatching: Dispatching, address: str) -> list[str]:
    """The bodies of the notices in a mailbox."""
    return [m.get_content() for m in dispatching.sink.mails(address) if "OTP," not in str(m["Subject"])]


def codes(dispatching: Dispatching, address: str) -> int:
    """How many codes a mailbox was sent."""
    return sum("OTP," in str(mail["Subject"]) for mail in dispatching.sink.mails(address))


async def all_answered(dispatching: Dispatching) -> None:
    none = "notice where answer is null"
    await eventually(lambda: dispatching.room.empty(none), "all notices are answered", seconds=SECONDS)


@asynccontextmanager
async def no_answer_recorded(dispatching: Dispatching) -> AsyncIterator[None]:
    """Notices are fixed and sent; what the relay answered cannot be recorded."""
    schema = dispatching.room.schema
    blocker = await dispatching.room.superuser()
    try:
        await blocker.execute(
            f"create function {schema}.held() returns trigger language plpgsql as "
            "'begin perform pg_advisory_xact_lock(hashtext(tg_table_schema)); return new; end';"
            f"create trigger held before update on {schema}.notice for each row execute function {schema}.held()"
        )
        async with blocker.transaction():
            await blocker.execute("select pg_advisory_xact_lock(hashtext($1))", schema)
            yield
    finally:
        await blocker.close()
