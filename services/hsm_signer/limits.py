"""The limits of an authorisation (design sections 3 and 4.5)."""

from datetime import timedelta

from libs.bus.consumption import HANDLER_BOUND
from libs.contracts import signing
from libs.contracts.signing import DELIVERY_WITHIN, OTP_LIFETIME

WRONG_OTPS = 5
"""The fifth wrong code ends the request."""

WRONG_PINS_OF_REQUEST = 3
"""The third wrong PIN ends the request."""

WRONG_PINS_IN_A_ROW = 3
"""Wrong PINs in a row that lock the credential."""

DAY = timedelta(hours=24)
"""What "a day" is: the last 24 hours, whenever it is asked."""

WRONG_OTPS_OF_DAY = 10
"""Wrong codes of one officer in a day, over all requests; the tenth holds the officer's codes, and locks no PIN."""

RESERVE_WITHIN = signing.RESERVE_WITHIN
"""What an outage may keep an authorisation waiting before it is reserved; our own backlog does not count. A setting."""

FINISH_WITHIN = timedelta(hours=12)
"""A reserved batch may finish within this, unless the certificate is revoked."""

UNDISPATCHED_EXPIRY = DELIVERY_WITHIN + max(OTP_LIFETIME.values()) + RESERVE_WITHIN
"""When a request expires, counted from `requested`, before the signer has heard of any code."""

TRY_WITHIN = timedelta(seconds=HANDLER_BOUND)
"""For how long an attempt may still be under way when its request has ended."""

SLOT_WAIT = timedelta(seconds=1)
"""How long an attempt waits for other attempts of the same credential that are being tried."""
