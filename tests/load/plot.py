"""docs/bench.png from the results: what a document costs as they grow in number, and who spends it.

`python -m tests.load.plot` draws it anew from var/bench/results.json.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from deploy.native.layout import CHECKOUT
from tests.load.parts import Found

RESULTS = CHECKOUT / "var" / "bench" / "results.json"
PICTURE = CHECKOUT / "docs" / "bench.png"


def draw(found: Found, file: Path) -> bool:
    """Write the picture; False when growth was not measured, of which it is made."""
    if "documents" not in found:
        return False
    mpl.use("Agg")
    sizes = found["documents"]["by_size"]
    picture = Figure(figsize=(11, 4.6), layout="constrained")
    cost, share = picture.subplots(1, 2)

    at = [one["size"] for one in sizes]
    median = [one["cpu_us"]["median"] for one in sizes]
    spread = [
        [one["cpu_us"]["median"] - one["cpu_us"]["least"] for one in sizes],
        [one["cpu_us"]["most"] - one["cpu_us"]["median"] for one in sizes],
    ]
    cost.errorbar(at, median, yerr=spread, marker="o", capsize=4)
    cost.set(
        xscale="log", ylim=(0, None), xlabel="documents",
        ylabel="CPU per document, µs (median; least to most)",
        title="Cost of a document, all processes",
    )  # fmt: skip
    cost.grid(visible=True, alpha=0.3)

    parts = sorted(sizes[-1]["cpu_us_by_part"], key=lambda name: -sizes[-1]["cpu_us_by_part"][name])
    bottom = [0.0] * len(sizes)
    names = [f"{one['size']:,}" for one in sizes]
    colours = mpl.colormaps["tab20"]
    for number, part in enumerate(parts):
        spent = [one["cpu_us_by_part"][part] for one in sizes]
        share.bar(names, spent, bottom=bottom, label=part, color=colours(number))
        bottom = [below + own for below, own in zip(bottom, spent, strict=True)]
    share.set(xlabel="documents", ylabel="CPU per document, µs (median)", title="By process")
    handles, labels = share.get_legend_handles_labels()
    share.legend(handles[::-1], labels[::-1], fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))

    picture.suptitle(title(found), fontsize="medium")
    picture.savefig(file, dpi=110, metadata={"Software": None})
    return True


def title(found: Found) -> str:
    """Whose figures these are, and the growth that is judged."""
    machine, documents = found["machine"], found["documents"]
    raw = documents["by_size"][-1]["raw_hsm_per_s"]["median"]
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cpus']} CPUs; raw HSM {raw:.0f}/s\n"
        f"{documents['growth_is']}: {found['growth']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(0 if draw(json.loads(RESULTS.read_text()), PICTURE) else 1)
