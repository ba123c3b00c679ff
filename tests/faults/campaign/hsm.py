"""Faults of the users' HSM: away, away for longer than an authorisation lives, answering with errors."""

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from libs.contracts.reasons import Reason
from libs.contracts.waiting import WaitsFor
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import AWAY, Inflict, Judge, moment
from tests.faults.campaign.ledgers import waiting_is_told
from tests.faults.campaign.stacks import COMPRESSION
from tests.support.chain import Client

LONG: Final = 15 * 60 / COMPRESSION
"""Seconds of the compressed stack that are 15 minutes."""

KEPT_TOO_LONG: Final = frozenset({Reason.AUTHORISATION_EXPIRED})

COUNTED: Final = """
SELECT count(*) FILTER (WHERE wrong_otps + request.wrong_pins > 0) AS requests,
    count(*) FILTER (WHERE credential.wrong_pins > 0 OR locked_at IS NOT NULL) AS credentials
FROM hsm_signer.request LEFT JOIN hsm_signer.credential USING (credential_id) WHERE request_id = ANY ($1)
"""


def away(seconds: float = AWAY) -> Inflict:
    """The token is not where the module looks for it; nobody's attempt counts."""

    async def inflict(client: Client, seeded: random.Random) -> Judge:
        await moment(seeded)
        tokens = _tokens(client)
        gone = tokens.rename(tokens.with_name("tokens.away"))
        try:
            await asyncio.sleep(seconds)
        finally:
            if tokens.exists():  # made anew by who found none
                shutil.rmtree(tokens)
            gone.rename(tokens)
        return _costs_no_attempt(client)

    return inflict


async def away_for_long(client: Client, seeded: random.Random) -> Judge:
    """For longer than an authorisation lives: what waited too long is refused, and can be asked for again."""
    free = await away(LONG)(client, seeded)
    assert free is not None

    async def judge(seen: Observation) -> Sequence[str]:
        refusals = [refusal for _, document in seen.all_documents() for refusal in document.refusals]
        wrong = [
            f"{refusal.request_id} is not said to be safe to retry" for refusal in refusals if not refusal.safe_to_retry
        ]
        if not any(refusal.reason == Reason.AUTHORISATION_EXPIRED for refusal in refusals):
            wrong.append("nothing was kept too long: nothing was tried")
        return [*await free(seen), *wrong]

    return judge


async def errors(client: Client, seeded: random.Random) -> Judge:
    """What the token keeps is damaged for moments: handles die within a slice, sessions break, keys are not found."""
    ends = time.monotonic() + AWAY
    while time.monotonic() < ends:
        await moment(seeded, 0.1, 1.0)
        with _damaged(_tokens(client)):
            await moment(seeded, 0.05, 1.5)
    return _costs_no_attempt(client)


def _tokens(client: Client) -> Path:
    return client.stack.layout.hsm("users") / "tokens"


@contextlib.contextmanager
def _damaged(tokens: Path) -> Iterator[None]:
    """Every key file is empty; the token itself is there."""
    whole = {file: file.read_bytes() for file in tokens.glob("*/*.object") if file.name != "token.object"}
    try:
        for file in whole:
            file.write_bytes(b"")
        yield
    finally:
        for file, content in whole.items():
            file.write_bytes(content)


def _costs_no_attempt(client: Client) -> Judge:
    """Officers were told to wait, and no attempt of theirs counts."""

    async def judge(seen: Observation) -> Sequence[str]:
        row = await client.database.fetchrow(COUNTED, list(seen.requests))
        assert row is not None
        wrong = [*await waiting_is_told(client, WaitsFor.HSM)(seen)]
        if row["requests"]:
            wrong.append(f"an attempt was counted in {row['requests']} requests")
        if row["credentials"]:
            wrong.append("a PIN was counted as wrong, or locked")
        return wrong

    return judge
