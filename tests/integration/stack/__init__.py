"""The embedded stack itself, on real processes."""
