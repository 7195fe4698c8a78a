"""What jobs and relays cost, beside bare trio and beside their peers: `make bench`, or `python -m tests.benchmarks --help`.

- `effort`, `rounds`, `results`, `text`: sizes, rounds taken in turn, rows with a target, tables
- `peers`, `install`: who else is here to be measured
- `core`: ticks, whole jobs, parked jobs
- `relay`: proxies of all makes, and the load for them
- `fairness`, `scale`, `image_balancer`
"""
