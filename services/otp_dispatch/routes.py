"""Where otp_dispatch's events come from and go to."""

from dataclasses import dataclass

from libs.contracts import topics
from libs.contracts.topics import Topic


@dataclass(frozen=True)
class Routes:
    """The topics; tests give their own."""

    medium_resolved: Topic = topics.MEDIUM_RESOLVED
    resend_requested: Topic = topics.RESEND_REQUESTED
    otp_dispatched: Topic = topics.OTP_DISPATCHED
    resend_answered: Topic = topics.RESEND_ANSWERED
    progressed: Topic = topics.PROGRESSED
    authorisation_failed: Topic = topics.AUTHORISATION_FAILED
    not_me: Topic = topics.NOT_ME
    waiting: Topic = topics.WAITING
    pin_answered: Topic = topics.PIN_ANSWERED
    officer_told: Topic = topics.OFFICER_TOLD
    user: Topic = topics.USER
    certificate: Topic = topics.CERTIFICATE
    keys: Topic = topics.KEYS


DEFAULT_ROUTES = Routes()
