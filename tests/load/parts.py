"""The parts of the bench, in the order in which they are run: each measures one thing and says under which names."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from tests.load import crls, fills, yardstick
from tests.load.growth import growth_of
from tests.load.measuring import COMPARED_ROUNDS, SETTLING, Bench, Figure
from tests.load.mixed import PUKAL, SINGLES_PER_S, half_load
from tests.load.processes import used_between
from tests.load.progress import say
from tests.load.signings import one_after_another, percentile, side_by_side, single, thirds
from tests.support.faults import members, twin

Found = dict[str, Any]
"""What a part adds to the results, by name."""

WARM_UP, WARM_UP_PUKALS = 20, 5
"""What a new stack signs before anything is measured: its broker compiles meanwhile, and its plans are made."""
SINGLES = 200
SIZES = (100, 1_000, 10_000, 100_000)
LONGEST = 10_000
"""Documents that one request may have; more of them are several requests in sequence."""
AT_LEAST = 1_000
"""Documents in one round of a size: small requests are repeated until it is as many."""
USERS, ROWS = 100_000, 1_000_000
SIDE_BY_SIDE = 4
MIXED_SECONDS = 60.0


async def pukal(bench: Bench) -> Found:
    """1,000 documents with one PIN and OTP; the memory that it takes."""
    for _ in range(WARM_UP):
        await single(bench.client, bench.officers[0])
    count = bench.scaled(1_000, least=50)
    await one_after_another(bench.client, bench.officers[0], count, WARM_UP_PUKALS)
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
    officer, count, machine = bench.officers[0], bench.scaled(SINGLES, least=20), await yardstick.rates()
    await asyncio.sleep(SETTLING)
    before = bench.processes.cpu_seconds()
    took = [await single(bench.client, officer) for _ in range(count)]
    cost = used_between(before, bench.processes.cpu_seconds(), count)
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    say(f"single documents: p50 {p50:.0f} ms, p99 {p99:.0f} ms, {sum(cost.values()) / 1_000:.0f} ms of CPU each")
    return {
        "single_p50_ms": p50,
        "single_p99_ms": p99,
        "single": {
            "count": count,
            "p50_ms_by_third": [percentile(third, 0.5) for third in thirds(took)],
            "machine": asdict(machine),
            "cpu_us": round(sum(cost.values()), 1),
            "cpu_us_by_part": cost,
        },
        "rss_mb": bench.processes.peaks(),
    }


async def mixed(bench: Bench) -> Found:
    """Single documents while Pukals are signed, together half of what the platform can bear."""
    load = await half_load(bench, bench.scaled(1_000, least=50))
    machine = await yardstick.rates()
    per_s = await load.run(max(MIXED_SECONDS * bench.scale, 10.0))
    p50, p99 = percentile(load.singles_ms, 0.5), percentile(load.singles_ms, 0.99)
    say(f"mixed load: {per_s:.0f} documents/s, singles p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return {
        "mixed_p99_ms": p99,
        "mixed": {
            "machine": asdict(machine),
            "singles": len(load.singles_ms),
            "single_p50_ms": p50,
            "pukal_documents": load.pukal_documents,
            "failed": load.failed,
            "documents_per_s": round(per_s, 1),
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


async def users(bench: Bench) -> Found:
    """A few officers, and then a hundred thousand; the HSM's objects stay as many as they were."""
    real, more = len(bench.officers), bench.scaled(USERS, least=100)

    objects = [_objects(bench)]
    figures = await bench.compared(
        f"{real} users", f"{real + more:,} users", lambda: fills.users(bench.client, bench.officers[0].user, more)
    )
    await bench.client.enrol()
    objects.append(_objects(bench))

    return {
        "users": {
            "real_keys": real + 1,
            "copies": f"{more:,} rows in each service's copy of the state and in the signer's custody, each as large "
            "as a real one; their keys are copies of one blob",
            "hsm_objects": {"before": objects[0], "with all users and one more real key": objects[1]},
            "figures": [asdict(one) for one in figures],
            "cost_ratio": cost_ratio(figures),
        }
    }


async def rows(bench: Bench) -> Found:
    """What was posted before must cost nothing."""
    more, counted = bench.scaled(ROWS, least=1_000), []

    async def fill() -> None:
        counted.append(await bench.client.value("SELECT count(*) FROM posting.record"))
        await fills.posted(bench.client, more)
        counted.append(await bench.client.value("SELECT count(*) FROM posting.record"))

    figures = by_records(await bench.compared("records as they are", f"{more:,} records more", fill), counted)
    return {
        "rows": {
            "records": counted,
            "copies": "record (256 bytes of each), signing_log and inbox of posting",
            "figures": [asdict(one) for one in figures],
            "cost_ratio": cost_ratio(figures),
        }
    }


def by_records(figures: Sequence[Figure], counted: Sequence[int]) -> list[Figure]:
    """The two named by the records that there were when the first had ended and before the second began."""
    names = f"up to {counted[0]:,} records", f"from {counted[1]:,} records on"
    return [replace(figure, what=name) for figure, name in zip(figures, names, strict=True)]


async def crl(bench: Bench) -> Found:
    """What a Pukal costs with the revocations of a ministry, and with a million; and what a look-up does."""
    few, many = bench.scaled(crls.FEW, least=10), bench.scaled(crls.MANY, least=1_000)
    lists = [await crls.revoke_up_to(bench, few)]

    async def fill() -> None:
        lists.append(await crls.revoke_up_to(bench, many))

    figures = await bench.compared(f"CRL of {few:,}", f"CRL of {many:,}", fill)
    return {
        "crl": {
            "lists": lists,
            "figures": [asdict(one) for one in figures],
            "cost_ratio": cost_ratio(figures),
            "crl_verifier_peak_mb": bench.processes.peaks()["crl_verifier"],
        },
        "crl_lookup_us": lists[-1]["lookup_us"],
    }


def cost_ratio(figures: Sequence[Figure]) -> float:
    """The cost of a document after, divided by that before."""
    before, after = figures
    return after.cpu_us.median / before.cpu_us.median


def _objects(bench: Bench) -> int:
    """Objects in the users' HSM token: SoftHSM keeps each in a file."""
    return len(list((bench.layout.hsm("users") / "tokens").glob("*/*.object")))


Part = Callable[[Bench], Awaitable[Found]]

PARTS: Final[dict[str, Part]] = {
    "pukal": pukal,
    "single": singles,
    "mixed": mixed,
    "p256": p256,
    "growth": growth,
    "signers": signers,
    "users": users,
    "rows": rows,
    "crl": crl,
}
