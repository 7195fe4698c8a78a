"""Proxies to be measured, each a program: `python -m tests.benchmarks.relay.proxies.NAME BACKEND_PORT` prints its port."""
