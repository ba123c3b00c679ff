"""What a service remembers of policies of settings, on the real database."""

import asyncio

import pytest

from libs.storage.policies import NONE_YET, Seen, newest, remember
from tests.support.bus import open_room
from tests.support.stack import Stack

pytestmark = pytest.mark.stack


async def test_of_a_number_the_first_policy_is_kept_and_of_several_the_highest_counts(stack: Stack) -> None:
    """I-60: also of replicas that start at once."""
    async with open_room(stack) as room:

        async def kept(policy: Seen) -> Seen:
            async with room.pool.acquire() as connection:
                return await remember(connection, policy)

        async with room.pool.acquire() as connection:
            assert await newest(connection) is None
        assert await kept(NONE_YET) == NONE_YET
        twins = [Seen(3, bytes([number]) * 32) for number in range(8)]
        found = set(await asyncio.gather(*map(kept, twins)))
        assert len(found) == 1
        assert found < set(twins)
        assert await kept(Seen(2, b"x")) in found
        assert await kept(Seen(4, b"x")) == Seen(4, b"x")
