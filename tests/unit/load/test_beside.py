"""The two stacks side by side: each figure, and what it is in containers of what it is without."""

from typing import Any

from tests.load import beside
from tests.load.yardstick import Machine
from tests.unit.load.test_report import results


def side(per_s: float, p50: float) -> dict[str, Any]:
    """What the parts found on one stack."""
    return results() | {
        "pukal_per_s": per_s,
        "ratio": 0.4006,
        "single_p50_ms": p50,
        "single_p99_ms": 2 * p50,
        "resident_mb": {"kafka": 400.0, "postgres": 100.0},
        "start_s": 10.0,
    }


def test_a_line_has_both_figures_and_their_ratio() -> None:
    found = {"machine": Machine.here().as_json(), "scale": 1.0, "embedded": side(800.04, 40), "compose": side(600, 50)}
    lines = beside.table(found).splitlines()
    assert "| Pukal of 1,000, documents/s | 800 | 600 | 0.75 |" in lines
    assert "| one document, idle, p50, ms | 40 | 50 | 1.25 |" in lines
    assert "| most memory of a service, MiB | 89 | 89 | 1.00 |" in lines
    assert "| the same to the raw rate of the HSM | 0.401 | 0.401 | 1.00 |" in lines
    assert len(lines) == len(beside.FIGURES) + 4
