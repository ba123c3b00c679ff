"""The process of one fuzzing run: our code instrumented for coverage, then libFuzzer, which does not return."""

import signal
import sys
import time
from random import Random

import atheris

SLOW = 1.0
"""Seconds of this process's own CPU for one input; the slowest that any parser needs is a hundredth of it."""

MIX = 3
"""One mutation of so many is the fuzzer's own, the others know the format."""


def main() -> None:
    """`name`, for how many seconds of this process's own CPU, then what libFuzzer takes."""
    name, seconds = sys.argv.pop(1), float(sys.argv.pop(1))
    with atheris.instrument_imports(include=["libs", "services"]):
        from tests.fuzz.parsers import target  # noqa: PLC0415 (instrumented as it is imported)

        fuzzed = target(name)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randrange(MIX) == 0:
            return bytes(atheris.Mutate(data, max_size))
        return fuzzed.mutate(data, random)[:max_size]

    def run(data: bytes) -> None:
        began = time.process_time()
        fuzzed.accepts(data)
        took = time.process_time() - began
        assert took < SLOW, f"{took:.1f} s for {len(data)} bytes"
        if began > end:
            signal.raise_signal(signal.SIGUSR1)  # libFuzzer ends in good order, with its statistics

    atheris.Setup(sys.argv, run, custom_mutator=mutate)
    end = time.process_time() + seconds
    atheris.Fuzz()


if __name__ == "__main__":
    main()
