"""How the figures of the bench are put together: what is told must follow from what was measured."""

import pytest

from tests.load import report, soak
from tests.load.growth import growth_of
from tests.load.signings import Window
from tests.load.yardstick import Spread, signatures_per_s


def cost(*rounds: float) -> Spread:
    return Spread.of(rounds)


def test_a_constant_price_of_requests_is_no_growth_of_documents() -> None:
    """120 ms a request and 2 ms a document: 3.2 ms a document at 100, and 2 at 100,000."""
    sizes = (100, 1_000, 10_000)
    found = growth_of(sizes, [cost(2_000 + 120_000 / size) for size in sizes])
    assert found.request_cpu_ms == pytest.approx(120, abs=0.1)
    assert found.smallest == 1_000
    assert found.growth == pytest.approx(2_012 / 2_120, abs=0.001)


def test_a_document_that_costs_more_among_many_is_growth() -> None:
    found = growth_of((100, 1_000, 100_000), [cost(3_200), cost(2_120), cost(2_000, 3_180, 4_000)])
    assert found.growth == 1.5
    assert found.first_to_last == 2.0


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
