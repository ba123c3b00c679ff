"""Write or check the committed schemas: `python -m libs.contracts.schemas [--check | --replace]`.

Writing refuses a breaking change: those who run the last release read and write these topics while the next one
starts. `--replace` is for an event that no release has carried yet.
"""

import sys

from libs.contracts.schemas.files import check, write


def main(arguments: list[str]) -> int:
    """0 when the files are, or now are, those of the events."""
    faults = check() if "--check" in arguments else write(replace="--replace" in arguments)
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
