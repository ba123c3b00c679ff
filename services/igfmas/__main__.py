"""`python -m services.igfmas init` makes the client's keys; `… demo [--input file.csv]` shows the chain at work."""

import argparse
import sys
from pathlib import Path

INTERRUPTED = 130


def main() -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.igfmas", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init", help="make the caller's and the registrar's key, and ask for their certificates")
    demo = commands.add_parser("demo", help="run the 14 steps on a file of vouchers")
    demo.add_argument("--input", type=Path, help="CSV with vouchers; default: the sample of 520")
    demo.add_argument("--results", type=Path, help="folder for summary and evidence; default: var/demo")
    demo.add_argument("--containers", action="store_true", help="on the stack of docker-compose.yml")
    arguments = parser.parse_args()
    if arguments.command == "init":
        from services.igfmas.init import initialise  # noqa: PLC0415 (init needs nothing of what the demo imports)

        return initialise()
    from services.igfmas.demo.command import demonstrate  # noqa: PLC0415 (as above; and Ctrl-C is caught from here on)

    return demonstrate(arguments.input, arguments.results, containers=arguments.containers)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
