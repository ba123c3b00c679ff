"""What aiokafka is kept from doing to us. Each defence says what; its fault is in tests/contract."""

from libs.bus import connecting, records, stopping


def install() -> None:
    """Before a client of aiokafka is made. Safe to call again."""
    records.install()
    stopping.install()
    connecting.install()
