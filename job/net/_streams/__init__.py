"""A connection: stream, inbox and outbox, link, wire."""
