"""What is judged is what was measured, whole: not what is shown of it, and not only what did end."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from tests.load import bench, crls, measuring, processes, report, yardstick
from tests.load.compared import cost_ratio
from tests.load.measuring import Figure
from tests.load.signings import Window
from tests.load.yardstick import Rates
from tests.unit.load.test_report import results

RATIO = "Pukal of 1,000, to the raw rate of the HSM"


def figure(took_ms: int, cpu_us: float = 1.0, *, raw: float = 2_208.5) -> Figure:
    """One round of 1,000,000 documents."""
    return Figure.of("a Pukal", [Window(0, took_ms, 1_000_000)], [Rates(raw, 1.0)], [{"kafka": cpu_us}])


def holds(found: dict[str, Any], what: str) -> bool | None:
    (line,) = (line for line in report.judged(found) if line["what"] == what)
    held: bool | None = line["holds"]
    return held


def test_a_ratio_that_is_shown_as_the_target_but_is_below_it_does_not_hold() -> None:
    found = results() | {"ratio": figure(905_961).ratio}  # 1,103.8 a second beside 2,208.5
    found["targets"] = report.judged(found)
    assert holds(found, RATIO) is False
    assert f"| {RATIO} | 0.500 x | 0.5 x | **no** |" in report.table(found)


def test_rates_of_which_a_ratio_is_made_are_not_rounded() -> None:
    assert figure(1_000_000, raw=2_000.04).ratio == 1_000 / 2_000.04


def test_a_cost_that_is_a_little_above_flat_is_not_flat() -> None:
    users = {"cost_ratio": cost_ratio([figure(1, 1_000), figure(1, 1_100.4)])}
    assert holds({"users": users}, "the same with 100,000 users more") is False
    used = processes.used_between({"kafka": 0.0}, {"kafka": 1.0}, 3)
    assert used["kafka"] == 1e6 / 3


def test_memory_that_is_a_little_above_its_bound_is_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    running = SimpleNamespace(pids=lambda: dict.fromkeys(processes.PARTS, 1))
    monkeypatch.setattr(processes, "_peak", lambda _: 90.04)
    peaks = processes.Processes(running).peaks()  # type: ignore[arg-type]
    assert holds({"rss_mb": peaks}, "most memory of a service, Pukals of 1,000") is False


def test_a_look_up_that_takes_a_little_too_long_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crls, "time", SimpleNamespace(perf_counter=iter((0.0, 0.005004)).__next__))
    index = SimpleNamespace(status=lambda _: None)
    took = crls.lookup_us(index, range(1_000))  # type: ignore[arg-type]
    assert holds({"crl_lookup_us": took}, "CRL look-up among 1,000,000 entries") is False


async def test_a_start_that_takes_a_little_too_long_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(*_: object) -> None:
        """Nothing but the start."""

    monkeypatch.setattr(bench, "new_layout", lambda _: None)
    monkeypatch.setattr(bench, "running_stack", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(bench, "Stack", lambda _: None)
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "time", SimpleNamespace(monotonic=iter((0.0, 20.04)).__next__))
    assert holds(await bench.bench([], 1.0), "start of a new stack") is False


def test_singles_that_came_in_time_do_not_hide_those_that_failed() -> None:
    found = {"mixed_p99_ms": 200, "mixed": {"failed": ["NotInTime()"]}}
    assert holds(found, "one document under half of the maximum, p99") is True
    assert holds(found, "requests of that load that failed") is False
    assert holds({"mixed": {"failed": []}}, "requests of that load that failed") is True
    assert holds({}, "requests of that load that failed") is None


def test_a_whole_run_ends_with_1_where_a_target_does_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    found = results() | {"ratio": 0.4998, "failed": {}}
    assert bench.verdict(found, whole=True) == 1
    assert f"does not hold: {RATIO}: 0.500 x, wanted 0.5" in capsys.readouterr().err
    assert bench.verdict(found, whole=False) == 0, "of parts, or of small sizes, nothing is wanted"
    assert bench.verdict(found | {"ratio": 0.5}, whole=True) == 0
    assert bench.verdict(found | {"ratio": 0.5, "failed": {"crl": "OSError()"}}, whole=False) == 1


async def test_what_is_compared_is_signed_in_turns_so_that_an_hour_that_worsens_falls_on_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def rates() -> Rates:
        turns.append("machine")
        return Rates(1.0, 1.0)

    def work(name: str) -> measuring.Rounds:
        async def sign() -> Window:
            turns.append(name)
            return Window(0, 1, 1)

        spent = SimpleNamespace(cpu_seconds=lambda: {"kafka": float(sum(range(100, 100 + len(turns))))})
        return measuring.Rounds(spent, name, sign)  # type: ignore[arg-type]

    turns: list[str] = []
    monkeypatch.setattr(measuring, "SETTLING", 0)
    monkeypatch.setattr(yardstick, "rates", rates)
    figures = await measuring.in_turns([work("new"), work("filled")], 9)
    assert turns[:5] == ["machine", "new", "filled", "filled", "new"]
    assert turns.count("machine") == measuring.ROUNDS
    assert turns.count("new") == turns.count("filled") == 9
    assert cost_ratio(figures) == pytest.approx(1, abs=0.02), "each turn costs more than the one before"
