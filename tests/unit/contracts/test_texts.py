"""Every reason has a text in both languages that says what happened to the documents and what to do."""

import re
from typing import get_args

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.texts import LANGUAGES, Language, Text, _catalogue, notice_text, text, waiting_text
from libs.contracts.waiting import WaitsFor
from libs.crypto.path import UnknownReason
from services.otp_dispatch.notice_text import Change

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


NOTICE_VALUES = {"changed_at": "15:04, 28/11/2026", "works_from": "15:04, 29/11/2026", "place": "b***@anm.example"}


@pytest.mark.parametrize("code", [*get_args(Change), "new-address"])
def test_a_notice_says_in_both_languages_when_and_whom_to_call_and_holds_no_link(code: str) -> None:
    said = {language: notice_text(code, language, **NOTICE_VALUES) for language in LANGUAGES}
    for language, call in {"ms": "hubungi AP anda", "en": "contact your AP"}.items():
        one = said[language]  # type: ignore[index]
        assert call in one.next_step
        assert all(part.strip() and "{" not in part for part in _parts(one))
        assert not re.search(r"http|www\.", " ".join(_parts(one)))
    values = [{name for name, value in NOTICE_VALUES.items() if value in one.detail} for one in said.values()]
    assert values[0] == values[1]
    assert values[0] & {"changed_at", "works_from"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_of_notices_holds_exactly_what_is_told(language: Language) -> None:
    assert set(_catalogue(f"notices.{language}")) == {*get_args(Change), "new-address"}
