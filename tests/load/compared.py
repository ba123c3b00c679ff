"""What years bring, officers, records and revocations: put into one of two new stacks, which then sign in turns.

In turns, since one and the same work costs a tenth more in another minute: before and after would tell the minute too.
What a part puts there stays for the parts after it, which tell the cost of all of it together.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from tests.load import crls, fills
from tests.load.measuring import COMPARED_ROUNDS, Bench, Figure, in_turns
from tests.load.parts import Found
from tests.load.signings import one_after_another

USERS, ROWS = 100_000, 1_000_000


@dataclass(frozen=True)
class Pair:
    """Two new stacks, of which one is filled."""

    new: Bench
    filled: Bench

    async def in_turns(self, new: str, filled: str) -> list[Figure]:
        """Pukals of 1,000 of both, after one of each that pays for what was started or filled."""
        count, works = self.new.scaled(1_000, least=50), []
        for side, what in ((self.new, new), (self.filled, filled)):
            await fills.settle(side.client)
            await one_after_another(side.client, side.officers[0], count, 1)
            works.append(side.rounds(what, count=count))
        return await in_turns(works, COMPARED_ROUNDS)


async def users(pair: Pair) -> Found:
    """A few officers, and then a hundred thousand; the HSM's objects stay as many as they were."""
    bench = pair.filled
    real, more = len(bench.officers), bench.scaled(USERS, least=100)

    objects = [_objects(bench)]
    await fills.users(bench.client, bench.officers[0].user, more)
    figures = await pair.in_turns(f"{real} users", f"{real + more:,} users")
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


async def rows(pair: Pair) -> Found:
    """What was posted before must cost nothing."""
    await fills.posted(pair.filled.client, pair.filled.scaled(ROWS, least=1_000))
    counted = [await side.client.value("SELECT count(*) FROM posting.record") for side in (pair.new, pair.filled)]
    figures = await pair.in_turns(*(f"{count:,} records" for count in counted))
    return {
        "rows": {
            "records": counted,
            "copies": "record (256 bytes of each), signing_log and inbox of posting",
            "figures": [asdict(one) for one in figures],
            "cost_ratio": cost_ratio(figures),
        }
    }


async def crl(pair: Pair) -> Found:
    """What a Pukal costs with the revocations of a ministry, and with a million; and what a look-up does."""
    few, many = pair.new.scaled(crls.FEW, least=10), pair.filled.scaled(crls.MANY, least=1_000)
    lists = [await crls.revoke_up_to(pair.new, few), await crls.revoke_up_to(pair.filled, many)]
    figures = await pair.in_turns(f"CRL of {few:,}", f"CRL of {many:,}")
    return {
        "crl": {
            "lists": lists,
            "figures": [asdict(one) for one in figures],
            "cost_ratio": cost_ratio(figures),
            "crl_verifier_peak_mb": pair.filled.processes.peaks()["crl_verifier"],
            "certificate_authority_resident_mb": pair.filled.processes.resident()["certificate_authority"],
        },
        "crl_lookup_us": lists[-1]["lookup_us"],
    }


def cost_ratio(figures: Sequence[Figure]) -> float:
    """The cost of a document of the stack that was filled, divided by that of the new one."""
    new, filled = figures
    return filled.cpu_us.median / new.cpu_us.median


def _objects(bench: Bench) -> int:
    """Objects in the users' HSM token: SoftHSM keeps each in a file."""
    return len(list((bench.layout.hsm("users") / "tokens").glob("*/*.object")))


COMPARED: Final[dict[str, Callable[[Pair], Awaitable[Found]]]] = {"users": users, "rows": rows, "crl": crl}
"""In the order in which they are run, after the parts that need one stack only."""
