"""What became of the documents of one fault's load: what Kafka said, held against posting's records and the mails."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.igfmas.account import account_of
from services.igfmas.observation import Observation

RECOVERY = 30.0
"""Seconds from when the part is back to the end of everything that was asked before."""

CLOCKS = timedelta(seconds=1)
"""What the time of a mail at the relay and that of its record may differ by: they are of two processes."""


@dataclass(frozen=True)
class Mail:
    """A message that the relay kept; `code` is the line with the code and its reference."""

    message: str
    code: str
    kept_at: datetime


@dataclass(frozen=True)
class Toll:
    """What a fault cost. `lost`: neither posted nor rejected. `recovery` in seconds."""

    documents: int
    posted: int
    rejected: Mapping[str, int]
    """By reason."""
    lost: int
    duplicated: int
    otp_sent_twice: int
    """Messages that came again, always with the code that they had: another one is a contradiction."""
    contradictions: tuple[str, ...]
    recovery: float

    def holds(self, refuses: frozenset[str], *, mails_again: bool) -> bool:
        """Nothing lost, nothing twice, nothing refused but for what was done to the stack, and back in time.

        A mail may come twice only where the fault can come between the relay and the record: `mails_again`.
        """
        wrong = self.lost or self.duplicated or self.contradictions or set(self.rejected) - refuses
        mailed = mails_again or not self.otp_sent_twice
        return self.posted > 0 and mailed and not wrong and self.recovery < RECOVERY


def toll_of(
    observation: Observation,
    records: Sequence[str],
    mails: Sequence[Mail],
    dispatched: Mapping[str, datetime],
    recovery: float,
    wrong: Sequence[str] = (),
) -> Toll:
    """Count. `records` are the document ids that posting keeps of these requests, `mails` oldest first, `dispatched`
    when otp_dispatch recorded that a message was sent, `wrong` what the fault's own judge found.
    """
    account = account_of(observation)
    documents = [document for _, document in observation.all_documents()]
    recorded = Counter(records)
    copies: dict[str, list[Mail]] = {}
    for mail in mails:
        copies.setdefault(mail.message, []).append(mail)
    more = [
        f"{one.entry.id}: said to be posted {one.posted is not None}, recorded {recorded[one.entry.id]} times"
        for one in documents
        if recorded[one.entry.id] != (one.posted is not None)
    ]
    for message, sent in copies.items():
        if len({mail.code for mail in sent}) > 1:
            more.append(f"message {message} came with two codes")
        if message in dispatched and sent[-1].kept_at > dispatched[message] + CLOCKS:
            more.append(
                f"message {message} came {sent[-1].kept_at - dispatched[message]} after it was recorded as sent"
            )
    return Toll(
        documents=account.requested,
        posted=account.posted,
        rejected=Counter(str(one.refusals[0].reason) for one in documents if not one.posted and one.refusals),
        lost=account.lost,
        duplicated=account.duplicated,
        otp_sent_twice=sum(len(sent) - 1 for sent in copies.values()),
        contradictions=(*account.contradictions, *more, *wrong),
        recovery=recovery,
    )
