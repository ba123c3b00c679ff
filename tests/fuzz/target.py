"""What the fuzzer, and the short replay of every test run, need to know of a parser."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"

Mutate = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Target:
    """One parser.

    `accepts` gives the bytes to the parser and says whether it took them (True) or refused them by the errors that it
    declares (False). It lets every other exception out, and raises AssertionError when what was taken is not what it
    claims to be. `seeds` are inputs that get far; `mutate` changes one in the terms of its format.
    """

    name: str
    accepts: Callable[[bytes], bool]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutate
    max_size: int = 8 * 1024

    @property
    def corpus(self) -> Path:
        """The folder of its inputs in the repository."""
        return CORPUS / self.name
