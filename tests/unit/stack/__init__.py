"""Rules of the embedded stack that need no process."""
