"""All PKCS#11 of a process is on one thread, whatever its callers do: overlap, give up, hang, or close."""

import asyncio
import threading
import time

import pytest

from libs.hsm import hsm as hsm_module
from libs.hsm.errors import HsmUnavailable
from libs.hsm.hsm import QUEUE_LIMIT, Hsm
from libs.hsm.token_session import TokenSession
from tests.integration.hsm.softhsm import LABEL, MODULE, USER_PIN, SoftHsm

PATIENCE = 10.0


def _wait(_session: TokenSession, started: threading.Event, release: threading.Event) -> str:
    started.set()
    assert release.wait(PATIENCE)
    return "done"


async def _until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE)


async def test_many_users_share_one_thread_and_never_overlap(hsm: Hsm) -> None:
    await hsm.ensure_mac_key("pepper")
    inside = 0
    overlaps = 0

    def work(session: TokenSession, number: int) -> tuple[int, int]:
        nonlocal inside, overlaps
        inside += 1
        overlaps += inside > 1
        session.raw.generate_random(64)
        time.sleep(0)  # invite another thread in
        inside -= 1
        return number, threading.get_ident()

    async def user(base: int) -> list[tuple[int, int]]:
        return await asyncio.gather(*(hsm.run(work, base + number) for number in range(200)))

    first, second = await asyncio.gather(user(0), user(1000))
    assert [number for number, _ in first + second] == [*range(200), *range(1000, 1200)]
    assert {ident for _, ident in first + second} == {hsm._thread.ident}
    assert hsm._thread.ident != threading.get_ident()
    assert overlaps == 0


async def test_second_hsm_in_one_process_is_refused(hsm: Hsm) -> None:
    with pytest.raises(RuntimeError, match="one Hsm per process"):
        await Hsm.open(MODULE, LABEL, USER_PIN)
    await hsm.ensure_mac_key("pepper")


async def test_cancelled_caller_leaves_a_begun_call_alone_and_an_unbegun_one_never_begins(hsm: Hsm) -> None:
    started, release, begun = threading.Event(), threading.Event(), threading.Event()
    running = asyncio.create_task(hsm.run(_wait, started, release))
    await _until(started)
    waiting = asyncio.create_task(hsm.run(lambda _session: begun.set()))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    results = await asyncio.gather(running, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    release.set()
    await hsm.ensure_mac_key("pepper")
    assert len(await hsm.hmac_sha256("pepper", b"x")) == 32
    assert not begun.is_set()


async def test_queue_is_bounded_and_waiters_are_served(hsm: Hsm) -> None:
    started, release = threading.Event(), threading.Event()
    blocked = asyncio.create_task(hsm.run(_wait, started, release))
    await _until(started)
    others = [
        asyncio.create_task(hsm.run(lambda _session, number: number, number)) for number in range(QUEUE_LIMIT * 2)
    ]
    await asyncio.sleep(0)
    assert hsm._jobs.qsize() == QUEUE_LIMIT - 1
    release.set()
    assert await blocked == "done"
    assert await asyncio.gather(*others) == list(range(QUEUE_LIMIT * 2))


async def test_hsm_that_hangs_is_unavailable_and_serves_again_afterwards(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = threading.Event(), threading.Event()
    monkeypatch.setattr(hsm_module, "CALL_SECONDS", 0.05)
    with pytest.raises(HsmUnavailable, match="did not answer"):
        await hsm.run(_wait, started, release)
    with pytest.raises(HsmUnavailable, match="did not answer"):
        await hsm.ensure_mac_key("queued-behind-the-hang")
    monkeypatch.setattr(hsm_module, "CALL_SECONDS", PATIENCE)
    release.set()
    await hsm.ensure_mac_key("pepper")


async def test_close_finishes_what_is_queued_then_refuses(soft_hsm: SoftHsm) -> None:
    hsm = await Hsm.open(MODULE, LABEL, USER_PIN)
    started, release = threading.Event(), threading.Event()
    first = asyncio.create_task(hsm.run(_wait, started, release))
    await _until(started)
    second = asyncio.create_task(hsm.run(lambda _session: "second"))
    await asyncio.sleep(0)
    release.set()
    await hsm.aclose()
    assert (await first, await second) == ("done", "second")
    assert not hsm._thread.is_alive()
    with pytest.raises(HsmUnavailable, match="closed"):
        await hsm.run(lambda _session: None)
    await hsm.aclose()


async def test_what_an_operation_raises_reaches_its_caller_only(hsm: Hsm) -> None:
    def fail(_session: TokenSession) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await hsm.run(fail)
    await hsm.ensure_mac_key("pepper")
