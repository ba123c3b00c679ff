"""What a doctor makes of what it measured: each rule gives one finding, with what to do. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from libs.bus.settings_policy import CHECK, NOT_HELD, in_force
from libs.bus.topics import Shape, differences
from libs.storage.clock import CHECK as HOST_CLOCK
from services.operations.standing import duration

State = Literal["ok", "warn", "FAIL"]

CLOCK_WARN: Final = timedelta(seconds=1)
CLOCK_FAIL: Final = timedelta(seconds=5)
"""How far clocks may be apart: a code lives minutes, and a signing time is in the signature."""

CRL_LEFT: Final = 4
"""With less than this part of a CRL's life left, its authority should have made the next one."""

TLS_LEFT: Final = timedelta(days=30)
"""With less than this left, the API's certificate is to be renewed: callers refuse an expired one."""

PROOF_AGE: Final = timedelta(minutes=2)
"""Twice as long as the signer waits from one test signature to the next."""

NAMED: Final = 3
"""Of many that are missing, or differ, so many are named."""


@dataclass(frozen=True)
class Finding:
    """What one check found. `do` is what to do about it; an `ok` has none."""

    name: str
    state: State
    detail: str
    do: str = ""


def lines(findings: Iterable[Finding]) -> list[str]:
    """One line per finding, and below it what to do."""
    told = []
    for one in findings:
        told.append(f"{one.state:4}  {one.name:22}  {one.detail}")
        if one.do:
            told.append(f"      do: {one.do}")
    return told


def clock(here: Mapping[str, timedelta]) -> Finding:
    """`here` is by how much this host's clock is ahead of another's, by the other's name; empty when nobody told."""
    if not here:
        return Finding("clock", "warn", "nobody told the time to compare with", "mend what fails, and ask again")
    told = ", ".join(f"{by / timedelta(seconds=1):+.3f} s to {who}" for who, by in here.items())
    apart = max(map(abs, here.values()))
    state: State = "FAIL" if apart > CLOCK_FAIL else "warn" if apart > CLOCK_WARN else "ok"
    return Finding("clock", state, told, "" if state == "ok" else "see that NTP runs on every host (`timedatectl`)")


def kafka(declared: Mapping[str, Shape], existing: Mapping[str, Shape]) -> Finding:
    """Whether every declared topic, and its dead letters, is on the broker that answered, and as it is declared."""
    missing = [name for name in declared if name not in existing]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        do = "run the init step (`make up`), which creates them; then `gpki topics`"
        return Finding("Kafka", "FAIL", f"not there: {', '.join(missing[:NAMED])}{more}", do)
    wrong = [text for name, shape in declared.items() for text in differences(name, shape, existing[name])]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        do = "`gpki topics` shows each; docs/runbook.md says how to put it back"
        return Finding("Kafka", "FAIL", f"{'; '.join(wrong[:NAMED])}{more}", do)
    return Finding("Kafka", "ok", f"answers, all {len(declared)} topics are there, and as declared")


def migrations(wanted: Mapping[str, Mapping[str, bytes]], applied: Mapping[str, Mapping[str, bytes] | None]) -> Finding:
    """Schema → migration → hash, as the files have it and as the database has it; None is a schema that has none."""
    wrong = []
    for schema, files in wanted.items():
        done = applied[schema]
        if done is None:
            wrong.append(f"{schema} has no tables, or this role may not see them")
        elif missing := [name for name in files if name not in done]:
            wrong.append(f"{schema} lacks {missing[0]}")
        elif changed := [name for name, digest in files.items() if done[name] != digest]:
            wrong.append(f"{schema} has another {changed[0]} than these files")
    if wrong:
        do = "ask as the operator, who sees every schema; what is missing the owner of the schemas applies (`make up`)"
        return Finding("PostgreSQL", "FAIL", "; ".join(wrong), do)
    return Finding("PostgreSQL", "ok", f"answers, {len(wanted)} schemas are migrated")


def settings(policy: int | None, running: Mapping[str, str], *, everywhere: bool = True) -> Finding:
    """Under which policy of settings services run: its number, None for none, and what those say that are under one.

    `everywhere`: it also counts where no service has met it before.
    """
    if policy is None:
        return Finding("settings", "ok", f"{NOT_HELD}: there are no two security officers")
    others = [f"{name} is {said}" for name, said in running.items() if said != in_force(policy)]
    if others:
        do = "start them again; one that does not start names in its log the setting, and what the policy says"
        return Finding("settings", "warn", f"policy {policy} is signed by two, and {', '.join(others)}", do)
    if not everywhere:
        do = "have two security officers sign it anew: a service with another database would not start"
        return Finding("settings", "warn", f"certificates of those who signed policy {policy} have expired", do)
    told = f"policy {policy} is signed by two security officers"
    return Finding("settings", "ok", f"{told}, {len(running)} services run by it" if running else told)


def held(service: str, report: Mapping[str, Any]) -> dict[str, str]:
    """What a service says of the policy under which it runs, by its name; nothing of one that none can hold."""
    check = _checks(report).get(CHECK)
    return {} if check is None else {service: str(check.get("detail"))}


def readiness(service: str, report: Mapping[str, Any]) -> Finding:
    """What a service says of itself in /readyz. With a wrong clock on its host it works on, by the database's."""
    checks = _checks(report)
    wrong = checks.get(HOST_CLOCK, {}).get("detail")
    if report.get("ready") is True and wrong:
        do = "see that NTP runs on its host (docs/runbook.md, `clock-wrong`)"
        return Finding(service, "warn", f"ready, but the clock of its host is wrong: {wrong}", do)
    if report.get("ready") is True:
        return Finding(service, "ok", f"ready, {len(checks)} checks are good")
    bad = [
        f"{name} ({check.get('detail') or 'not good'})" for name, check in checks.items() if check.get("ok") is not True
    ]
    do = f"see the log of {service}"
    if any(name.endswith(":log-start-passed") and check.get("ok") is not True for name, check in checks.items()):
        do = f"`gpki republish gap {service}`: it stands before records that were deleted unread"
    return Finding(service, "FAIL", f"not ready: {', '.join(bad) or 'nothing reported'}", do)


def hsm(report: Mapping[str, Any]) -> Finding:
    """What the signer says of the HSM: it makes a test signature every minute, and verifies it."""
    do = "see that the HSM answers and its key store is there, then the log of hsm_signer; nothing signs until then"
    check = _checks(report).get("hsm")
    if check is None:
        return Finding("HSM", "FAIL", "the signer says nothing of it", "start this release of hsm_signer")
    age, detail = check.get("seconds_since_ok"), str(check.get("detail", ""))
    if check.get("ok") is not True or not isinstance(age, int | float):
        return Finding("HSM", "FAIL", detail or "no test signature", do)
    told = f"{detail}, {duration(timedelta(seconds=age))} ago"
    return Finding("HSM", "ok", told) if timedelta(seconds=age) <= PROOF_AGE else Finding("HSM", "FAIL", told, do)


def api(expires: datetime, now: datetime) -> Finding:
    """The API's TLS certificate, which its authority vouched for a moment ago."""
    told = f"TLS certificate good for {duration(expires - now)}"
    if expires - now > TLS_LEFT:
        return Finding("GPKI API", "ok", told)
    return Finding("GPKI API", "warn", told, "renew it (docs/runbook.md, `TLS of the GPKI API`)")


def smtp(greetings: Sequence[str], *, tls: str) -> Finding:
    """What the relay answered to EHLO: its extensions."""
    if tls == "required" and "STARTTLS" not in {line.upper() for line in greetings}:
        do = "have the relay offer STARTTLS, or see that it is the right one: otp_dispatch sends nothing without"
        return Finding("SMTP", "FAIL", "does not offer STARTTLS", do)
    return Finding("SMTP", "ok", "answers EHLO; no mail was sent")


def crl(name: str, *, this_update: datetime, next_update: datetime, now: datetime, genuine: bool) -> Finding:
    """The age of an authority's CRL. After nextUpdate nothing can be told of its certificates: signatures wait."""
    name = f"CRL of {name}"
    if not genuine:
        do = "see who put it there: an older or foreign CRL hides revocations (docs/runbook.md, `crl-invalid`)"
        return Finding(name, "FAIL", "is not signed by the authority of GPKI_PKI_DIR", do)
    left, age = next_update - now, now - this_update
    do = "see the log of certificate_authority: it makes the next one (docs/runbook.md, `crl-not-made`)"
    if left <= timedelta(0):
        return Finding(name, "FAIL", f"stale for {duration(-left)}: signatures wait", do)
    told = f"{duration(age)} old, good for {duration(left)}"
    if left < (next_update - this_update) / CRL_LEFT:
        return Finding(name, "warn", told, do)
    return Finding(name, "ok", told)


def _checks(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    checks = report.get("checks")
    found = checks if isinstance(checks, dict) else {}
    return {str(name): check for name, check in found.items() if isinstance(check, dict)}
