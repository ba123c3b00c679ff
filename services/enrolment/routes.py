"""Where enrolment's events come from and go to."""

from dataclasses import dataclass

from libs.contracts import topics
from libs.contracts.topics import Topic


@dataclass(frozen=True)
class Routes:
    """The topics; tests give their own."""

    application_submitted: Topic = topics.APPLICATION_SUBMITTED
    token_application_submitted: Topic = topics.TOKEN_APPLICATION_SUBMITTED
    token_certificate_requested: Topic = topics.TOKEN_CERTIFICATE_REQUESTED
    device_registration_submitted: Topic = topics.DEVICE_REGISTRATION_SUBMITTED
    key_requested: Topic = topics.KEY_REQUESTED
    application_refused: Topic = topics.APPLICATION_REFUSED
    user: Topic = topics.USER
    certificate: Topic = topics.CERTIFICATE
    keys: Topic = topics.KEYS


DEFAULT_ROUTES = Routes()
