"""Conditional requests for CRLs (RFC 9110 section 13)."""

from datetime import timedelta
from email.utils import format_datetime

import pytest
from starlette.datastructures import Headers

from services.certificate_authority.crl_server import File, respond
from tests.support.pki import EPOCH

FILE = File(b"a crl", "application/pkix-crl", EPOCH, "public, no-cache", 7)
TAG = FILE.headers["ETag"]


def date(hours):
    return format_datetime(EPOCH + timedelta(hours=hours), usegmt=True)


SENT = {
    "nothing asked": {},
    "another tag": {"if-none-match": '"other"'},
    "another tag, and a date that would match": {"if-none-match": '"other"', "if-modified-since": date(1)},
    "an older date": {"if-modified-since": date(-1)},
    "no date": {"if-modified-since": "yesterday"},
    "a date without a zone": {"if-modified-since": "Mon, 23 Nov 2026 09:00:00 -0000"},
}
KEPT = {
    "the tag": {"if-none-match": TAG},
    "the tag, weak": {"if-none-match": f"W/{TAG}"},
    "the tag among others": {"if-none-match": f'"a", {TAG}'},
    "any tag": {"if-none-match": "*"},
    "the tag, and an older date": {"if-none-match": TAG, "if-modified-since": date(-1)},
    "the same date": {"if-modified-since": date(0)},
    "a later date": {"if-modified-since": date(1)},
}


@pytest.mark.parametrize("case", SENT)
def test_the_crl_is_sent(case):
    response = respond(Headers(SENT[case]), FILE)
    assert (response.status_code, response.body) == (200, b"a crl")
    assert response.headers["content-type"] == "application/pkix-crl"
    assert response.headers["content-length"] == "5"


@pytest.mark.parametrize("case", KEPT)
def test_a_client_that_has_it_is_told_so(case):
    response = respond(Headers(KEPT[case]), FILE)
    assert (response.status_code, response.body) == (304, b"")
    assert response.headers["etag"] == TAG
    assert response.headers["last-modified"] == date(0)
    assert response.headers["cache-control"] == "public, no-cache"
    assert "content-length" not in response.headers


def test_another_crl_has_another_tag():
    assert File(b"a crl!", "application/pkix-crl", EPOCH, "", 8).headers["ETag"] != TAG
