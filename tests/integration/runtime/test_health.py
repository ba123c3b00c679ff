"""Alive, ready and measured: three answers on localhost that nothing can wedge."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from libs.runtime import health as module
from libs.runtime.health import MAX_CONNECTIONS, Health


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


Served = tuple[Health, int, "Monotonic"]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    registry = CollectorRegistry()
    Counter("gpki_canary_total", "A canary.", registry=registry).inc()
    clock = Monotonic()
    health = Health("posting", expects=["database"], registry=registry, monotonic=clock)
    port = await health.start(0)
    yield health, port, clock
    await health.stop()


async def ask(port: int, request: bytes) -> tuple[int | None, bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else None), head, body


async def get(port: int, path: str) -> tuple[int | None, bytes, bytes]:
    return await ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_livez_answers_while_nothing_is_ready(served: Served) -> None:
    _, port, _ = served
    status, _, body = await get(port, "/livez")
    assert (status, json.loads(body)) == (200, {"service": "posting", "alive": True})


async def test_readyz_is_503_until_every_expected_check_is_good(served: Served) -> None:
    health, port, clock = served
    assert (await get(port, "/readyz"))[0] == 503
    health.set("database", ok=True)
    assert (await get(port, "/readyz"))[0] == 200
    health.set("kafka", ok=False, detail="connection refused, password=CANARY")
    clock.now += 4.25
    status, _, body = await get(port, "/readyz")
    assert status == 503
    assert json.loads(body) == {
        "service": "posting",
        "ready": False,
        "checks": {
            "database": {"ok": True, "detail": "", "seconds_since_ok": 4.2},
            "kafka": {"ok": False, "detail": "connection refused, password=[redacted]", "seconds_since_ok": None},
        },
    }


async def test_a_check_that_fails_keeps_the_age_of_its_last_success(served: Served) -> None:
    health, _, clock = served
    health.set("database", ok=True)
    clock.now += 10
    health.set("database", ok=False)
    assert "'seconds_since_ok': 10.0" in str(health.report())
    assert not health.ready


def test_a_process_without_checks_is_not_ready() -> None:
    assert not Health("posting", registry=CollectorRegistry()).ready


async def test_metrics_are_in_the_text_format_of_prometheus(served: Served) -> None:
    _, port, _ = served
    status, head, body = await get(port, "/metrics?name=x")
    assert status == 200
    assert b"text/plain; version=0.0.4" in head
    assert b"gpki_canary_total 1.0" in body


async def test_head_has_the_length_and_no_body(served: Served) -> None:
    _, port, _ = served
    status, head, body = await ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert b"Content-Length: 0" not in head


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"POST /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\n\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /../etc HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /other HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_anything_else_is_refused(served: Served, request_bytes: bytes, expected: int) -> None:
    assert (await ask(served[1], request_bytes))[0] == expected


async def test_an_endless_head_is_refused_and_the_next_client_is_served(served: Served) -> None:
    _, port, _ = served
    with contextlib.suppress(ConnectionError):  # closed while we were still writing
        await ask(port, b"GET /livez HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
    assert (await get(port, "/livez"))[0] == 200


async def test_silent_clients_are_dropped_in_time_and_bounded_in_number(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IO_TIMEOUT", 2)
    _, port, _ = served
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    try:
        with contextlib.suppress(ConnectionError):  # one too many is closed unanswered, never left waiting
            assert (await get(port, "/livez"))[0] is None
        for reader, _ in silent:
            assert await asyncio.wait_for(reader.read(), 30) == b""
    finally:
        for _, writer in silent:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    assert (await get(port, "/livez"))[0] == 200


async def test_a_taken_port_is_an_error(served: Served) -> None:
    other = Health("other", registry=CollectorRegistry())
    with pytest.raises(OSError, match="address already in use"):
        await other.start(served[1])
