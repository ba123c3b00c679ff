"""Where the authority's events come from and go to."""

from dataclasses import dataclass

from libs.contracts import topics
from libs.contracts.topics import Topic


@dataclass(frozen=True)
class Routes:
    """The topics; tests give their own."""

    certificate_requested: Topic = topics.CERTIFICATE_REQUESTED
    token_certificate_requested: Topic = topics.TOKEN_CERTIFICATE_REQUESTED
    revocation_requested: Topic = topics.REVOCATION_REQUESTED
    suspension_requested: Topic = topics.SUSPENSION_REQUESTED
    lifting_requested: Topic = topics.LIFTING_REQUESTED
    application_refused: Topic = topics.APPLICATION_REFUSED
    certificate: Topic = topics.CERTIFICATE
    keys: Topic = topics.KEYS


DEFAULT_ROUTES = Routes()
