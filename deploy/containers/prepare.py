"""`prepare`, the job before the infrastructure: secrets, TLS, tokens' folders, data directories, configuration."""

import sys

from deploy.containers.layout import inside
from deploy.native import broker, database, hsm, transport
from deploy.native.failures import StackError
from deploy.native.layout import Layout


def prepare(layout: Layout) -> None:
    """Make what is not there and write every configuration; may run again, also beside a stack that runs.

    Raises StackError.
    """
    transport.certify(layout)
    database.prepare(layout)
    broker.prepare(layout)
    hsm.prepare(layout)
    for name in layout.brokers:
        # read by `java @file`, so that the command is said in one place
        _, *arguments = broker.command(layout, name, "-Xshare:auto")
        (layout.config / f"{name}.args").write_text("\n".join(arguments) + "\n")


if __name__ == "__main__":
    try:
        prepare(inside())
    except StackError as error:
        sys.exit(f"error: {error}")
