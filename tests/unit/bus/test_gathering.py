"""How many documents are yet to come, as far as one process can tell."""

import pytest

from libs.bus import gathering
from libs.bus.gathering import Outstanding
from libs.contracts.progress import Progressed
from tests.support.documents import shapes


def test_what_is_yet_to_come_is_what_the_headers_say_less_what_came():
    outstanding, first, second = Outstanding(), shapes(10), shapes(5)
    outstanding.came(first[:4])
    assert outstanding.count() == 6
    outstanding.came([*first[4:9], *second[:1]])
    assert outstanding.count() == 1 + 4
    outstanding.came([*first[9:], *second[1:]])
    assert outstanding.count() == 0


def test_what_is_no_document_promises_none():
    outstanding, (one,) = Outstanding(), shapes(1)
    outstanding.came([Progressed(request_id=one.request_id, stage="signed", documents=(one.entry.id,))])
    outstanding.came([one])
    assert outstanding.count() == 0


def test_the_rest_of_a_request_that_fell_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    outstanding = Outstanding()
    outstanding.came(shapes(3)[:1])
    assert outstanding.count() == 2
    monkeypatch.setattr(gathering, "SILENCE", -1.0)
    assert outstanding.count() == 0


def test_of_too_many_requests_the_most_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gathering, "REQUESTS", 1)
    outstanding = Outstanding()
    outstanding.came(shapes(20)[:1])
    outstanding.came(shapes(3)[:1])
    assert outstanding.count() == 2
