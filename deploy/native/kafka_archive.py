"""Makes the broker's class archive (JVM class data sharing): it halves the time and the CPU of every broker start.

Part of `make setup`. The JVM ignores an archive that does not fit its version or its jars, so it can never do harm.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.native import broker
from deploy.native.failures import StackError, part_failed
from deploy.native.layout import open_layout

START_SECONDS = 60
STARTED = "Kafka Server started"


def make() -> None:
    """Run a broker once, on a directory of its own, and let the JVM write down the classes that it loaded.

    Raises StackError.
    """
    with tempfile.TemporaryDirectory(prefix="gpki-") as folder:
        layout = open_layout(Path(folder))
        layout.config.mkdir()
        broker.prepare(layout)
        archive = broker.archive(layout)
        unfinished = archive.with_suffix(".new")
        log = Path(folder) / "kafka.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                broker.command(layout, "kafka", f"-XX:ArchiveClassesAtExit={unfinished}"), stdout=out, stderr=out
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while STARTED not in log.read_text(errors="replace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise part_failed("kafka", "did not start for its class archive", log)
                time.sleep(0.1)
            process.terminate()
            process.wait(START_SECONDS)
        finally:
            process.kill()
            process.wait()
        if not unfinished.exists():
            raise part_failed("kafka", "wrote no class archive", log)
        unfinished.replace(archive)


if __name__ == "__main__":
    try:
        make()
    except StackError as error:
        sys.exit(f"error: {error}")
