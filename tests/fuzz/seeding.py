"""`python -m tests.fuzz.seeding [name ...]`: write the seeds of the corpus anew, as `seed-<n>`; found inputs stay."""

import sys

from tests.fuzz.parsers import NAMES, target


def main(names: list[str]) -> None:
    """Those named, or all."""
    for name in names or NAMES:
        fuzzed = target(name)
        fuzzed.corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(fuzzed.seeds()):
            (fuzzed.corpus / f"seed-{number:02}").write_bytes(seed)


if __name__ == "__main__":
    main(sys.argv[1:])
