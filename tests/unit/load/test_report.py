"""The table and the picture are made of the results file alone."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.load import plot, report
from tests.load.measuring import Figure, Latency
from tests.load.signings import Window
from tests.load.yardstick import Machine, Rates

PNG = b"\x89PNG\r\n"


def figure(documents: int, *seconds: float) -> Figure:
    """Rounds that took so long, beside an HSM that makes 1,000 a second; the signer has spent half of each."""
    windows = [Window(0, round(1_000 * each), documents) for each in seconds]
    costs = [{"hsm_signer": 500_000 * each / documents, "kafka": 100_000 * each / documents} for each in seconds]
    return Figure.of(f"{documents} documents", windows, [Rates(1_000.0, 2_000.0)] * len(windows), costs)


def results() -> dict[str, Any]:
    """As they are read back from the file."""
    sizes = [{"size": size, **asdict(figure(size, size / 500, size / 250, size / 400))} for size in (100, 1_000)]
    found = {
        "machine": Machine.here().as_json(),
        "scale": 1.0,
        "ratio": sizes[-1]["ratio"],
        "growth": 1.0,
        "pukal": sizes[-1],
        "documents": {"by_size": sizes, "growth_is": "cost of a document at 1,000 divided by that at 100"},
        "signers": [{"processes": 2, **sizes[-1], "what": "4 Pukals of 1,000 at once, two signers"}],
        "single": asdict(Latency.of("one document, idle", [[40.0, 60.0], [50.0, 90.0]], [Rates(1_000.0, 2_000.0)] * 2)),
        "rss_mb": {"hsm_signer": 89.0, "gateway": 88.0},
    }
    found["targets"] = report.judged(found)
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def test_a_figure_is_the_median_of_its_rounds_beside_the_machine() -> None:
    found = figure(1_000, 2.0, 4.0, 2.5)
    assert (found.per_s.least, found.per_s.median, found.per_s.most) == (250, 400, 500)
    assert found.ratio == 0.4
    assert found.cpu_us_by_part == {"hsm_signer": 1_250, "kafka": 250}
    assert found.cpu_us.median == 1_500


def test_the_table_tells_what_holds_and_what_does_not() -> None:
    text = report.table(results())
    assert "| Pukal of 1,000, to the raw rate of the HSM | 0.400 x | 0.5 x | **no** |" in text
    assert "| most memory of a service, Pukals of 1,000 | 89.0 MiB | 90 MiB | yes |" in text
    assert "| one document, idle, p50 | not measured | 60 ms |  |" in text
    assert "| one document, idle | 4 | 45 (40 to 50) | 75 (60 to 90) | 1000 | 2000 |" in text
    assert "| 1000 documents | 400 (250 to 500) | 1000 | 2000 | 0.400 | 1500 (1200 to 2400) |" in text
    assert "| 4 Pukals of 1,000 at once, two signers | 400 (250 to 500) |" in text
    assert "| CPU us a document, of | 100 | 1,000 | MiB at 1,000 | MiB at 10,000 |" in text
    assert "| hsm_signer | 1250 | 1250 | 89.0 |  |" in text


def test_the_picture_is_drawn_of_a_run_that_measured_growth(tmp_path: Path) -> None:
    found, file = results(), tmp_path / "bench.png"
    assert plot.draw(found, file)
    assert file.read_bytes().startswith(PNG)
    assert plot.title(found).endswith("\ncost of a document at 1,000 divided by that at 100: 1.000")
    del found["documents"]
    assert not plot.draw(found, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
