"""The hardware security module through PKCS#11: provision a token, hold one healed session, use keys inside it."""
