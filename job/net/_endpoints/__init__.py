"""Endpoints: dialing, listening, serving."""
