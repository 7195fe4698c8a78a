"""Enums, tables and records: the standard library only."""
