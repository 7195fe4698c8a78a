"""Relays: bytes both ways between two streams."""
