"""What a row becomes on the wire: one event of one line, which says nothing that the status does not."""

import json
from uuid import UUID

import pytest

from libs.contracts.reasons import Reason
from services.gateway.live import message
from services.gateway.timeline import Advance, Attempt, Entry, Moment
from tests.unit.gateway.histories import BEGIN, header, history, read, rejected, stamped

HEAD = header(3)

ADVANCES = [
    *read(
        stamped([*history(HEAD, posts=2), rejected(HEAD, None, Reason.CERTIFICATE_REVOKED, detail="a\r\nb\u2028c\n\n")])
    ),
    Advance(UUID(int=1), [Entry("authorisation-submitted", BEGIN, Attempt(attempt="a1"))]),
]


@pytest.mark.parametrize("entry", [entry for one in ADVANCES for entry in one.entries], ids=lambda entry: entry.kind)
def test_every_row_is_one_event_of_one_line(entry: Entry) -> None:
    reached = 2 if entry.kind == "signed" else None
    row = {"seq": 7, "kind": entry.kind, "at": entry.at, "data": entry.data.model_dump_json(), "reached": reached}
    text = message(row, "en")
    identifier, event, data, *end = text.split("\n")
    assert (identifier, event, end) == ("id: 7", f"event: {entry.kind}", ["", ""])
    assert "\r" not in text
    told = data.removeprefix("data: ")
    data = json.loads(told)["data"]
    explained = entry.kind in {"authorisation-failed", "rejected"}
    assert bool(data.get("explanation")) == explained
    assert (data | {"explanation": None} if explained else data) == json.loads(entry.data.model_dump_json())
    moment = Moment.model_validate_json(told)
    assert (moment.at, moment.reached) == (entry.at, reached)
    assert "challenge" not in told
    assert "sealed" not in told
