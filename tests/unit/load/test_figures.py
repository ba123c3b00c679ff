"""How the figures of the bench are put together: what is told must follow from what was measured."""

import pytest

from tests.load import report, soak
from tests.load.growth import growth_of
from tests.load.measuring import Latency
from tests.load.signings import Window
from tests.load.yardstick import Rates, Spread, signatures_per_s


def cost(*rounds: float) -> Spread:
    return Spread.of(rounds)


def test_a_constant_price_of_requests_is_no_growth_of_documents() -> None:
    """120 ms a request and 2 ms a document: 3.2 ms a document at 100, and 2 at 100,000."""
    sizes = (100, 1_000, 10_000)
    found = growth_of(sizes, [cost(2_000 + 120_000 / size) for size in sizes], 1_000, 10_000)
    assert found.request_cpu_ms == pytest.approx(120, abs=0.1)
    assert found.growth == pytest.approx(2_012 / 2_120)


def test_a_document_that_costs_more_among_many_is_growth() -> None:
    costs = [cost(3_200), cost(2_120), cost(2_000), cost(2_000, 3_180, 4_000)]
    found = growth_of((100, 1_000, 10_000, 100_000), costs, 1_000, 10_000)
    assert found.growth == 1.5
    assert found.from_longest == 1.59
    assert found.first_to_last == 2.0


@pytest.mark.parametrize("request_us", [0, 120_000, 900_000])
def test_growth_is_from_one_pukal_whatever_its_request_costs(request_us: int) -> None:
    sizes = (100, 1_000, 10_000, 100_000)
    costs = [cost(2_000 + request_us / min(size, 10_000)) for size in sizes]
    found = growth_of(sizes, costs, 1_000, 10_000)
    assert found.growth == costs[-1].median / costs[1].median
    assert found.as_json()["growth_is"] == "cost of a document at 100,000 divided by that at 1,000"


def test_a_target_holds_on_its_own_side_only() -> None:
    found = {"ratio": 0.51, "single_p50_ms": 61, "rss_mb": {"gateway": 88.0, "hsm_signer": 90.5}, "growth": None}
    lines = {line["what"]: line for line in report.judged(found)}
    assert lines["Pukal of 1,000, to the raw rate of the HSM"]["holds"] is True
    assert lines["Pukal of 1,000, to the raw rate of the HSM"]["moonshot_holds"] is False
    assert lines["one document, idle, p50"]["holds"] is False
    assert lines["most memory of a service, Pukals of 1,000"]["found"] == 90.5
    assert lines["most memory of a service, Pukals of 1,000"]["holds"] is False
    assert lines["CRL look-up among 1,000,000 entries"]["holds"] is None, "it was not measured"


def test_a_window_is_timed_by_its_own_ends() -> None:
    assert Window(1_000, 3_000, 500).per_s == 250


def test_a_latency_is_the_median_of_the_percentiles_of_its_rounds() -> None:
    rounds = [[40.0, 41.0, 60.0], [50.0, 30.0, 90.0], [45.0, 46.0, 70.0]]
    found = Latency.of("one document", rounds, [Rates(1_000, 2_000), Rates(900, 1_900), Rates(1_200, 1_950)])
    assert (found.p50_ms.median, found.p50_ms.rounds) == (46, (41, 50, 46))
    assert (found.p99_ms.least, found.p99_ms.median, found.p99_ms.most) == (60, 70, 90)
    assert (found.singles, found.raw_hsm_per_s.median, found.openssl_per_s.median) == (9, 1_000, 1_950)


def test_the_rate_of_signing_is_read_and_not_that_of_verifying() -> None:
    assert signatures_per_s("+H:1\n+F2:2:2048:4710.000000:79750.000000\n") == 4710


def test_memory_that_climbs_once_it_is_warm_is_not_flat() -> None:
    at = [float(second) for second in range(0, 600, 5)]
    warming = [80 - 20 / (1 + second) for second in at]
    climbing = [80 + second / 60 for second in at]
    peaking = [80 + 15 * (number % 7 == 0) * second / 600 for number, second in enumerate(at)]
    found = soak.judged(at, {"gateway": warming, "posting": climbing, "kafka": climbing, "hsm_signer": peaking})
    assert found["hsm_signer"]["flat"] is True, "what is there for a moment is no growth"
    assert found["hsm_signer"]["most_mb"] == pytest.approx(95, abs=1)
    assert found["gateway"]["flat"] is True
    assert found["posting"]["flat"] is False
    assert found["posting"]["mb_per_10_minutes"] == pytest.approx(10)
    assert found["kafka"]["flat"] is None, "its heap has a bound of its own"
