"""The committed JSON Schema of every topic's event, and the rule that it only ever grows."""
