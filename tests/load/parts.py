"""The parts of the bench on one stack, in the order in which they are run: each measures one thing and names it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from tests.load import yardstick
from tests.load.growth import growth_of
from tests.load.measuring import COMPARED_ROUNDS, ROUNDS, SETTLING, Bench, Figure, Latency, by_part
from tests.load.mixed import PUKAL, SINGLES_PER_S, half_load
from tests.load.processes import used_between
from tests.load.progress import say
from tests.load.signings import side_by_side, single
from tests.load.yardstick import Spread
from tests.support.faults import members, twin

Found = dict[str, Any]
"""What a part adds to the results, by name."""

SINGLES = 200
SIZES = (100, 1_000, 10_000, 100_000)
LONGEST = 10_000
"""Documents that one request may have; more of them are several requests in sequence."""
AT_LEAST = 1_000
"""Documents in one round of a size: small requests are repeated until it is as many."""
SIDE_BY_SIDE = 4
MIXED_SECONDS = 60.0


async def pukal(bench: Bench) -> Found:
    """1,000 documents with one PIN and OTP; the memory that it takes."""
    await bench.warm_up()
    count = bench.scaled(1_000, least=50)
    figure = await bench.pukals(f"Pukal of {count:,}", count=count, rounds=COMPARED_ROUNDS)
    return {
        "pukal": asdict(figure),
        "raw_hsm_per_s": figure.raw_hsm_per_s.median,
        "pukal_per_s": figure.per_s.median,
        "ratio": figure.ratio,
        "pukal_rounds": figure.per_s.rounds,
        "raw_rounds": figure.raw_hsm_per_s.rounds,
        "rss_mb": bench.processes.peaks(),
    }


async def singles(bench: Bench) -> Found:
    """One document at a time on an idle stack."""
    officer, count = bench.officers[0], bench.scaled(SINGLES, least=20)
    machine, rounds, costs = [], [], []
    for _ in range(ROUNDS):
        machine.append(await yardstick.rates())
        await asyncio.sleep(SETTLING)
        before = bench.processes.cpu_seconds()
        rounds.append([await single(bench.client, officer) for _ in range(count)])
        costs.append(used_between(before, bench.processes.cpu_seconds(), count))
    latency, cost = Latency.of("one document, idle", rounds, machine), Spread.of([sum(one.values()) for one in costs])
    say(f"{latency}, {cost.median / 1_000:.0f} ms of CPU each")
    return {
        "single_p50_ms": latency.p50_ms.median,
        "single_p99_ms": latency.p99_ms.median,
        "single": {**asdict(latency), "cpu_us": asdict(cost), "cpu_us_by_part": by_part(costs)},
        "rss_mb": bench.processes.peaks(),
    }


async def mixed(bench: Bench) -> Found:
    """Single documents while Pukals are signed, together half of what the platform can bear."""
    load = await half_load(bench, bench.scaled(1_000, least=50))
    machine, rounds, per_s = [], [], []
    for _ in range(ROUNDS):
        machine.append(await yardstick.rates())
        before = len(load.singles_ms)
        per_s.append(await load.run(max(MIXED_SECONDS * bench.scale, 10.0)))
        rounds.append(load.singles_ms[before:])
    latency = Latency.of("one document under half of the maximum", rounds, machine)
    say(str(latency))
    return {
        "mixed_p99_ms": latency.p99_ms.median,
        "mixed": {
            **asdict(latency),
            "pukal_documents": load.pukal_documents,
            "failed": load.failed,
            "documents_per_s": asdict(Spread.of(per_s)),
            "asked_per_s": round(load.documents_per_s + SINGLES_PER_S, 1),
        },
    }


async def p256(bench: Bench) -> Found:
    """The Pukal with a P-256 credential, whose signature costs the HSM a tenth of an RSA one."""
    officer, count = await bench.client.enrol(algorithm="p-256"), bench.scaled(1_000, least=50)
    figure = await bench.figure(f"Pukal of {count:,}, P-256", lambda: side_by_side(bench.client, [officer], count))
    return {"p256_per_s": figure.per_s.median, "p256": asdict(figure)}


async def growth(bench: Bench) -> Found:
    """Cost per document of small and of large requests, and of many of them in sequence."""
    figures: list[Figure] = []
    peaks: Mapping[str, float] = {}
    sizes = sorted({bench.scaled(size, least=10) for size in SIZES})
    for size in sizes:
        length = min(size, bench.scaled(LONGEST, least=10))
        what = f"{size:,} documents, {length:,} at a time"
        if size > length:  # a round is a request: its cost is seen to grow, if it does
            figures.append(await bench.pukals(what, count=length, rounds=size // length))
        else:
            figures.append(await bench.pukals(what, count=length, times=-(-bench.scaled(AT_LEAST) // length)))
        figures[-1] = replace(figures[-1], what=what)
        if length == bench.scaled(LONGEST, least=10) and not peaks:
            peaks = bench.processes.peaks()
    base, longest = (bench.scaled(size, least=10) for size in (PUKAL, LONGEST))
    found = growth_of(sizes, [figure.cpu_us for figure in figures], base, longest)
    by_size = [{"size": size, **asdict(figure)} for size, figure in zip(sizes, figures, strict=True)]
    return {
        "rss_mb_at_10000": peaks,
        "growth": found.growth,
        "growth_from_10000": found.from_longest,
        "documents": {**found.as_json(), "by_size": by_size},
    }


async def signers(bench: Bench) -> Found:
    """Four Pukals at once with one signer and with two: a Pukal by itself is one signer's."""
    count, officers, stack = bench.scaled(1_000, least=50), bench.officers[:SIDE_BY_SIDE], bench.client.stack
    one, two = (f"{SIDE_BY_SIDE} Pukals of {count:,} at once, {number}" for number in ("one signer", "two signers"))
    figures = [await bench.figure(one, lambda: side_by_side(bench.client, officers, count))]
    async with twin(stack, "hsm_signer") as pid:
        await members(stack, "hsm_signer", 2)
        bench.processes.more["hsm_signer"] = pid
        try:
            figures.append(await bench.figure(two, lambda: side_by_side(bench.client, officers, count)))
        finally:
            del bench.processes.more["hsm_signer"]
    await members(stack, "hsm_signer", 1)
    return {"signers": [{"processes": place, **asdict(one)} for place, one in enumerate(figures, 1)]}


Part = Callable[[Bench], Awaitable[Found]]

PARTS: Final[dict[str, Part]] = {
    "pukal": pukal,
    "single": singles,
    "mixed": mixed,
    "p256": p256,
    "growth": growth,
    "signers": signers,
}
