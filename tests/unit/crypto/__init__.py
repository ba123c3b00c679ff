"""Guarantees of libs.crypto."""
