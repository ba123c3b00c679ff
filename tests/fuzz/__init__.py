"""Every parser that meets bytes of others, under mutated input: `make fuzz` for minutes, `test_fuzz.py` for seconds."""
