"""The table of design section 8 over one run's results: what was found, what is wanted, and whether it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.load.parts import Found
from tests.load.yardstick import Spread

DIGITS: Final = {"x": 3, "ms": 0, "us": 2, "MiB": 1, "s": 1, "requests": 0}
"""After the point, by unit, where a figure is shown; judged is what was measured."""

FLAT: Final = 1.1
"""A cost that is "flat within 10 %" has grown to no more than this."""


@dataclass(frozen=True)
class Target:
    """One line of the table. `value` finds the figure in the results; KeyError says that it was not measured."""

    what: str
    unit: str
    value: Callable[[Found], float]
    wanted: float
    at_least: bool = False
    moonshot: float | None = None

    def holds(self, value: float | None, wanted: float | None) -> bool | None:
        """Whether a figure is as good as this; None if there is no such figure, or nothing is wanted."""
        if value is None or wanted is None:
            return None
        return value >= wanted if self.at_least else value <= wanted


def _highest(sizes: Mapping[str, float]) -> float:
    return max(sizes.values())


TARGETS: Final = (
    Target("Pukal of 1,000, to the raw rate of the HSM", "x", lambda found: found["ratio"], 0.5, True, 0.65),
    Target("one document, idle, p50", "ms", lambda found: found["single_p50_ms"], 60, moonshot=45),
    Target("one document under half of the maximum, p99", "ms", lambda found: found["mixed_p99_ms"], 400, moonshot=200),
    Target("requests of that load that failed", "requests", lambda found: len(found["mixed"]["failed"]), 0),
    Target("cost of a document at 100,000, to one at 1,000", "x", lambda found: found["growth"], FLAT),
    Target("the same with 100,000 users more", "x", lambda found: found["users"]["cost_ratio"], FLAT),
    Target("and with 1,000,000 records more", "x", lambda found: found["rows"]["cost_ratio"], FLAT),
    Target("and with a CRL of 1,000,000 entries", "x", lambda found: found["crl"]["cost_ratio"], FLAT),
    Target("CRL look-up among 1,000,000 entries", "us", lambda found: found["crl_lookup_us"], 5),
    Target("most memory of a service, Pukals of 1,000", "MiB", lambda found: _highest(found["rss_mb"]), 90),
    Target("most memory of a service, Pukals of 10,000", "MiB", lambda found: _highest(found["rss_mb_at_10000"]), 150),
    Target("start of a new stack", "s", lambda found: found["start_s"], 20, moonshot=10),
)
"""Sizes are those of a whole run; with SCALE they are smaller."""


def judged(found: Found) -> list[dict[str, Any]]:
    """Every target with what was found; `holds` is None where it was not measured."""
    lines = []
    for target in TARGETS:
        value: float | None
        try:
            value = target.value(found)
        except KeyError:
            value = None
        lines.append(
            {
                "what": target.what, "unit": target.unit, "found": value,
                "target": target.wanted, "holds": target.holds(value, target.wanted),
                "moonshot": target.moonshot, "moonshot_holds": target.holds(value, target.moonshot),
            }
        )  # fmt: skip
    return lines


def missed(found: Found) -> list[str]:
    """The targets that were measured and do not hold, each with its figure."""
    lines = [line for line in judged(found) if line["holds"] is False]
    return [f"{line['what']}: {_shown(line)}, wanted {line['target']:g}" for line in lines]


def _shown(line: Mapping[str, Any]) -> str:
    if line["found"] is None:
        return "not measured"
    return f"{line['found']:.{DIGITS[line['unit']]}f} {line['unit']}"


def table(found: Found) -> str:
    """The same as text, in Markdown, with CPU by part under it."""
    machine = found["machine"]
    where = f"{machine['date']}, {machine['cpu']}, {machine['cpus']} CPUs, load before {machine['load_before']}"
    rows = [
        f"{where}, scale {found['scale']:g}",
        "",
        "| | found | target | holds |",
        "|---|---|---|---|",
    ]
    for line in found["targets"]:
        holds = {None: "", True: "yes", False: "**no**"}[line["holds"]]
        rows.append(f"| {line['what']} | {_shown(line)} | {line['target']:g} {line['unit']} | {holds} |")
    return "\n".join([*rows, "", *_latencies(found), "", *_figures(found), "", *_by_part(found)]) + "\n"


def _latencies(found: Found) -> list[str]:
    latencies = [found[name] for name in ("single", "mixed") if name in found]
    if not latencies:
        return []
    rows = [
        "| | singles | p50 ms (least to most) | p99 ms (least to most) | raw HSM/s | `openssl`/s |",
        "|---" * 6 + "|",
    ]
    for one in latencies:
        p50, p99 = Spread(**one["p50_ms"]), Spread(**one["p99_ms"])
        rates = f"{one['raw_hsm_per_s']['median']:.0f} | {one['openssl_per_s']['median']:.0f}"
        rows.append(f"| {one['what']} | {one['singles']} | {p50} | {p99} | {rates} |")
    return rows


def figures_of(found: Found) -> list[dict[str, Any]]:
    """Every figure of a run, in the order of the parts."""
    groups = [
        *([found[name]] for name in ("pukal", "p256") if name in found),
        found.get("documents", {}).get("by_size", []),
        found.get("signers", []),
        *(found[name]["figures"] for name in ("users", "rows", "crl") if name in found),
    ]
    return [figure for group in groups for figure in group]


def _figures(found: Found) -> list[str]:
    figures = figures_of(found)
    if not figures:
        return []
    rows = [
        "| | documents/s (least to most) | raw HSM/s | `openssl`/s | ratio | CPU us a document (least to most) |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one['what']} | {Spread(**one['per_s'])} "
        f"| {one['raw_hsm_per_s']['median']:.0f} | {one['openssl_per_s']['median']:.0f} | {one['ratio']:.3f} "
        f"| {Spread(**one['cpu_us'])} |"
        for one in figures
    ]
    return rows


def _by_part(found: Found) -> list[str]:
    """CPU of each process by size, and the most memory of each service."""
    sizes = found.get("documents", {}).get("by_size", [])
    if not sizes:
        return []
    head = "".join(f"| {one['size']:,} " for one in sizes)
    rows = [
        f"| CPU us a document, of | {head.removeprefix('| ')}| MiB at 1,000 | MiB at 10,000 |",
        "|---" * (len(sizes) + 3) + "|",
    ]
    for part in sizes[-1]["cpu_us_by_part"]:
        spent = "".join(f"| {one['cpu_us_by_part'][part]:.0f} " for one in sizes)
        memory = (found.get(name, {}).get(part) for name in ("rss_mb", "rss_mb_at_10000"))
        rows.append(f"| {part} {spent}| " + " | ".join("" if size is None else f"{size:.1f}" for size in memory) + " |")
    return rows
