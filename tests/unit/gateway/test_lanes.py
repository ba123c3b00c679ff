"""A long batch never stands before one document."""

from libs.contracts import topics
from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.signing import INTERACTIVE_DOCUMENTS
from services.gateway.app import DEFAULT_ROUTES


def test_the_lane_is_chosen_by_the_number_of_documents() -> None:
    lane = DEFAULT_ROUTES.lane
    assert lane(1) is topics.AUTHORISATION_SUBMITTED
    assert lane(INTERACTIVE_DOCUMENTS) is topics.AUTHORISATION_SUBMITTED
    assert lane(INTERACTIVE_DOCUMENTS + 1) is topics.AUTHORISATION_SUBMITTED_BULK
    assert lane(MAX_DOCUMENTS) is topics.AUTHORISATION_SUBMITTED_BULK
    assert topics.AUTHORISATION_SUBMITTED.event is topics.AUTHORISATION_SUBMITTED_BULK.event
