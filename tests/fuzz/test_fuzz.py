"""The corpus again, and a few hundred mutations of it, the same in every run: nothing but clean refusals."""

from random import Random

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from libs.contracts.topics import TOPICS
from libs.crypto import pki
from tests.fuzz.parsers import NAMES, target
from tests.fuzz.target import CORPUS, Target

MUTATIONS = 300

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def inputs(fuzzed: Target) -> list[bytes]:
    return [file.read_bytes() for file in sorted(fuzzed.corpus.iterdir())]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_is_taken_or_refused_by_the_parsers_own_errors(name: str) -> None:
    fuzzed, random = target(name), Random(name)
    corpus = inputs(fuzzed)
    answers = [fuzzed.accepts(data) for data in corpus]
    answers += [fuzzed.accepts(fuzzed.mutate(random.choice(corpus), random)) for _ in range(MUTATIONS)]
    assert {True, False} == set(answers), "mutations that are all taken, or all refused at the door, show nothing"


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_gets_through_the_parser(name: str) -> None:
    fuzzed = target(name)
    seeds = [file.name for file in sorted(fuzzed.corpus.glob("seed-*"))]
    assert seeds
    assert [seed for seed in seeds if not fuzzed.accepts((fuzzed.corpus / seed).read_bytes())] == []


def test_every_event_has_a_seed() -> None:
    """A new one: python -m tests.fuzz.seeding event."""
    seeds = [file.read_bytes() for file in target("event").corpus.glob("seed-*")]
    assert {seed.partition(b"\n")[0].decode() for seed in seeds} == {*TOPICS, "headers"}


def test_every_folder_of_the_corpus_has_its_parser() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(NAMES)


def test_what_was_found_is_found_again_without_its_mending(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a target that swallows what it should let out is noticed."""
    monkeypatch.setattr(pki, "UNREADABLE", (ValueError, TypeError))
    fuzzed = target("certificate")
    with pytest.raises(UnsupportedAlgorithm):
        fuzzed.accepts((fuzzed.corpus / "found-request-curve").read_bytes())
