"""Each rule of the doctor: what is well, what is a warning, what fails, and that a failure says what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.bus.topics import Shape
from libs.storage.clock import CHECK as HOST_CLOCK
from services.hsm_signer import proof
from services.operations import diagnosis
from services.operations.diagnosis import Finding

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def report(**checks: Any) -> dict[str, Any]:
    return {"service": "s", "ready": all(check["ok"] for check in checks.values()), "checks": checks}


def check(*, ok: bool = True, detail: str = "", age: float | None = 0.0) -> dict[str, Any]:
    return {"ok": ok, "detail": detail, "seconds_since_ok": age}


@pytest.mark.parametrize(
    ("ahead", "state"),
    [((0.9,), "ok"), ((0, -1.1), "warn"), ((5,), "warn"), ((0, -5.1), "FAIL"), ((), "warn")],
)
def test_clocks_that_are_apart_are_a_warning_over_a_second_and_fail_over_five(
    ahead: tuple[float, ...], state: str
) -> None:
    found = diagnosis.clock({f"part {number}": seconds(by) for number, by in enumerate(ahead)})
    assert found.state == state
    assert bool(found.do) == (state != "ok")


def test_missing_topics_are_named_up_to_three() -> None:
    shape = Shape(4, {"min.insync.replicas": "1"})
    assert diagnosis.kafka(dict.fromkeys("ab", shape), dict.fromkeys("bax", shape)).state == "ok"
    found = diagnosis.kafka(dict.fromkeys("abcde", shape), {"b": shape})
    assert (found.state, found.detail) == ("FAIL", "not there: a, c, d and 1 more")
    assert "make up" in found.do
    wrong = diagnosis.kafka({"a": shape}, {"a": Shape(4, {"min.insync.replicas": "0"})})
    assert (wrong.state, wrong.detail) == ("FAIL", "a: min.insync.replicas is 0, declared is 1")
    assert "gpki topics" in wrong.do


@pytest.mark.parametrize(
    ("applied", "said"),
    [
        ({"posting": {"1": b"a", "2": b"b"}}, None),
        ({"posting": {"1": b"a", "2": b"b", "of a later release": b"c"}}, None),
        ({"posting": None}, "posting has no tables"),
        ({"posting": {"1": b"a"}}, "posting lacks 2"),
        ({"posting": {"1": b"a", "2": b"x"}}, "another 2"),
    ],
)
def test_a_schema_is_migrated_when_it_has_each_file_as_it_is(applied: dict[str, Any], said: str | None) -> None:
    found = diagnosis.migrations({"posting": {"1": b"a", "2": b"b"}}, applied)
    assert found.state == ("FAIL" if said else "ok")
    assert (said or "") in found.detail
    assert bool(found.do) == bool(said)


def test_a_service_is_what_it_says_of_itself_and_its_bad_checks_are_named() -> None:
    assert diagnosis.readiness("posting", report(kafka=check(), database=check())).state == "ok"
    found = diagnosis.readiness("posting", report(kafka=check(), database=check(ok=False, detail="away")))
    assert (found.state, found.detail, found.do) == ("FAIL", "not ready: database (away)", "see the log of posting")


def test_a_service_that_is_ready_on_a_host_whose_clock_is_wrong_is_a_warning_that_says_by_how_much() -> None:
    good, wrong = check(), check(detail="+3600 s to the database's")
    assert diagnosis.readiness("posting", report(**{HOST_CLOCK: good})).state == "ok"
    found = diagnosis.readiness("posting", report(**{HOST_CLOCK: wrong}))
    assert (found.state, "+3600 s to the database's" in found.detail) == ("warn", True)
    assert "`clock-wrong`" in found.do
    assert diagnosis.readiness("posting", report(kafka=check(ok=False), **{HOST_CLOCK: wrong})).state == "FAIL"


def test_a_service_that_stands_before_a_gap_is_told_with_the_command_that_helps() -> None:
    found = diagnosis.readiness("posting", report(**{"posting:log-start-passed": check(ok=False)}))
    assert (found.state, "`gpki republish gap posting`" in found.do) == ("FAIL", True)


@pytest.mark.parametrize("strange", [{}, {"ready": "yes"}, {"ready": False, "checks": [1]}, {"checks": {"x": 1}}])
def test_a_report_of_another_form_is_a_failure_and_no_crash(strange: dict[str, Any]) -> None:
    assert diagnosis.readiness("posting", strange).state == "FAIL"
    assert diagnosis.hsm(strange).state == "FAIL"


@pytest.mark.parametrize(
    ("hsm", "state"),
    [
        (check(age=2 * proof.EVERY - 1), "ok"),
        (check(age=2 * proof.EVERY + 1), "FAIL"),  # the signer stands still: what it said last is no news
        (check(ok=False, age=3), "FAIL"),
        (check(ok=False, age=None), "FAIL"),
    ],
)
def test_the_hsm_is_well_while_its_last_test_signature_is_young(hsm: dict[str, Any], state: str) -> None:
    found = diagnosis.hsm(report(hsm=hsm))
    assert found.state == state
    assert bool(found.do) == (state == "FAIL")


@pytest.mark.parametrize(("age", "told"), [(59, "59 s ago"), (150, "2 min 30 s ago")])
def test_a_test_signature_is_told_with_its_age_whether_it_is_young_or_not(age: float, told: str) -> None:
    found = diagnosis.hsm(report(hsm=check(detail="test signature made in 2 ms, and verified", age=age)))
    assert found.detail == f"test signature made in 2 ms, and verified, {told}"


def test_a_relay_that_must_encrypt_and_does_not_offer_it_fails() -> None:
    assert diagnosis.smtp(["sink", "8BITMIME"], tls="when-offered").state == "ok"
    assert diagnosis.smtp(["sink", "starttls"], tls="required").state == "ok"
    assert diagnosis.smtp(["sink", "8BITMIME"], tls="required").state == "FAIL"


@pytest.mark.parametrize(
    ("hours", "state"), [(0, "ok"), (18, "ok"), (18.1, "warn"), (23.9, "warn"), (24, "FAIL"), (30, "FAIL")]
)
def test_a_crl_is_a_warning_in_its_last_quarter_and_fails_when_it_is_stale(hours: float, state: str) -> None:
    now = NOW + timedelta(hours=hours)
    found = diagnosis.crl("root", this_update=NOW, next_update=NOW + timedelta(hours=24), now=now, genuine=True)
    assert (found.name, found.state) == ("CRL of root", state)


@pytest.mark.parametrize(("days", "state"), [(825, "ok"), (31, "ok"), (30, "warn"), (1, "warn")])
def test_a_tls_certificate_is_a_warning_in_its_last_month(days: float, state: str) -> None:
    found = diagnosis.api(NOW + timedelta(days=days), NOW)
    assert (found.name, found.state, bool(found.do)) == ("GPKI API", state, state == "warn")


def test_a_crl_of_somebody_else_fails_however_young() -> None:
    found = diagnosis.crl("root", this_update=NOW, next_update=NOW + timedelta(hours=24), now=NOW, genuine=False)
    assert found.state == "FAIL"


def test_each_finding_is_a_line_and_what_to_do_is_the_next() -> None:
    told = diagnosis.lines([Finding("Kafka", "ok", "answers"), Finding("SMTP", "FAIL", "is away", "call them")])
    assert [" ".join(line.split()) for line in told] == ["ok Kafka answers", "FAIL SMTP is away", "do: call them"]


def test_a_policy_of_settings_is_told_with_who_runs_by_another() -> None:
    """I-60."""
    under = report(settings=check(detail="held by policy 2"))
    running = diagnosis.held("posting", under) | diagnosis.held("gateway", report(started=check()))
    assert running == {"posting": "held by policy 2"}
    assert diagnosis.settings(None, {"posting": "not held by a policy"}).state == "ok"
    assert diagnosis.settings(2, running) == Finding(
        "settings", "ok", "policy 2 is signed by two security officers, 1 services run by it"
    )
    assert diagnosis.settings(2, {}).detail == "policy 2 is signed by two security officers"
    found = diagnosis.settings(3, running)
    assert (found.state, "posting is held by policy 2" in found.detail) == ("warn", True)
    assert "start them again" in found.do
