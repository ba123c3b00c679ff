"""The language that services share: events, topics, reason codes, manifest and root."""
