"""Enums, tables and records, built on the standard library alone."""
