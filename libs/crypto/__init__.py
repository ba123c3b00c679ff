"""Pure functions of the signing chain: no I/O, no clock, nothing of contracts, bus or storage."""
