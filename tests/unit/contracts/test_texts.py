"""Every reason has a text in both languages that says what happened to the documents and what to do."""

import re

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.texts import LANGUAGES, Language, Text, _catalogue, text, waiting_text
from libs.contracts.waiting import WaitsFor
from libs.crypto.path import UnknownReason

VALUES = {"attempts_left": 2, "held_until": "15:04, 28/11/2026"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_holds_exactly_the_reasons(language: Language) -> None:
    assert set(_catalogue(language)) == {str(reason) for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_both_languages_need_the_same_values_and_no_reason_needs_an_unknown_one(reason: Reason) -> None:
    needed = {
        language: set(re.findall(r"\{(\w+)\}", " ".join(map(str, _parts(_catalogue(language)[reason])))))
        for language in LANGUAGES
    }
    assert needed["ms"] == needed["en"]
    assert needed["ms"] <= set(VALUES)


@pytest.mark.parametrize("reason", Reason)
def test_every_text_says_whether_anything_was_signed_or_posted_and_what_to_do(reason: Reason) -> None:
    outcomes: dict[Language, str] = {"ms": r"tandatangan|pos", "en": r"signed|posted"}
    for language, outcome in outcomes.items():
        filled = text(reason, language, **VALUES)
        assert re.search(outcome, filled.detail)
        assert all(part.strip() and "{" not in part for part in _parts(filled))


@pytest.mark.parametrize("reason", Reason)
def test_what_is_safe_to_retry_says_so(reason: Reason) -> None:
    said = {
        "ms": "selamat dicuba semula" in text(reason, "ms", **VALUES).next_step.lower(),
        "en": "safe to try again" in text(reason, "en", **VALUES).next_step,
    }
    assert said["ms"] == said["en"]
    if reason.safe_to_retry:
        assert said["ms"]


def test_attempts_left_are_shown_and_a_missing_value_is_an_error_not_a_blank() -> None:
    assert "Baki 2 cubaan" in text("pin-incorrect", "ms", attempts_left=2).detail
    with pytest.raises(KeyError, match="attempts_left"):
        text("pin-incorrect", "ms")


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        text("no-such-reason", "en")


def _parts(entry: Text) -> tuple[str, str, str]:
    return entry.title, entry.detail, entry.next_step


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_can_be_waited_for_has_a_text_that_says_what_is_posted_and_what_to_do(language: Language) -> None:
    assert set(_catalogue(f"waiting.{language}")) == set(WaitsFor)
    for why in WaitsFor:
        said = waiting_text(why, language)
        assert said is not None
        assert re.search({"ms": "belum diposkan", "en": "not posted yet"}[language], said.detail)
        assert all(part.strip() and "{" not in part for part in _parts(said))
    assert waiting_text("no-such-thing", language) is None


def test_what_a_path_cannot_tell_is_a_thing_to_wait_for() -> None:
    assert {str(why) for why in UnknownReason} <= set(WaitsFor)
    assert {Reason.HSM_UNAVAILABLE.value, Reason.SAH_NOT_POSTED.value} <= set(WaitsFor)
