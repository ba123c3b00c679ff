"""What became of every document of a load: the only ground on which anything is called posted, lost or twice."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.faults.campaign.load import Journey
from tests.support.chain import Client

_CODE = re.compile(r"^([0-9]{6}) ialah OTP anda", re.MULTILINE)


@dataclass(frozen=True)
class Account:
    """Documents of one fault's load. `lost`: neither posted nor rejected. `duplicated`: signed or posted twice."""

    documents: int
    posted: int
    rejected: dict[str, int]
    lost: int
    duplicated: int
    otp_sent_twice: int
    """Messages that came again; always with the code that they had, else it is a fault of its own."""
    contradictions: tuple[str, ...]


async def account_for(client: Client, journeys: Sequence[Journey]) -> Account:
    """Settle by Kafka, and hold it against posting's records."""
    seen = [journey.seen for journey in journeys if journey.seen is not None]
    documents = [document for request in seen for document in request.documents.values()]
    recorded = await client.database.fetch(
        "SELECT document_id FROM posting.record WHERE request_id = ANY ($1)", [request.request_id for request in seen]
    )
    records = Counter(row["document_id"] for row in recorded)
    contradictions = [
        f"request {request.request_id} ended in {len(request.completed)} ways"
        for request in seen
        if len(request.completed) > 1
    ]
    contradictions += [
        f"{one.entry.id}: posted by Kafka {one.posted is not None}, by the record {records[one.entry.id]}"
        for one in documents
        if (one.posted is not None) != (records[one.entry.id] == 1)
    ]
    contradictions += client.chain.observation.strangers
    twice, more = _mails(client, {journey.officer.email for journey in journeys})
    reasons = Counter(str(one.refusals[0].reason) for one in documents if one.posted is None and one.refusals)
    return Account(
        documents=sum(len(journey.papers) for journey in journeys if journey.seen is not None),
        posted=sum(one.posted is not None for one in documents),
        rejected=dict(reasons),
        lost=sum(one.posted is None and not one.refusals for one in documents),
        duplicated=sum(
            len(one.signatures) > 1 or len(one.records) > 1 or records[one.entry.id] > 1 for one in documents
        ),
        otp_sent_twice=twice,
        contradictions=tuple(contradictions + more),
    )


def _mails(client: Client, addresses: Iterable[str]) -> tuple[int, list[str]]:
    codes: dict[str, list[str]] = {}
    for address in addresses:
        for mail in client.stack.mailbox(address):
            found = _CODE.search(mail.get_content())
            codes.setdefault(str(mail["Message-ID"]), []).append(found[1] if found else "")
    again = sum(len(sent) - 1 for sent in codes.values())
    return again, [f"message {name} came with two codes" for name, sent in codes.items() if len(set(sent)) > 1]
