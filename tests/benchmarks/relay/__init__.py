"""What a relayed connection costs, beside the proxies that others would write or install.

- `load.c`, `load`: the two ends of a measured proxy, compiled where there is a compiler; else `load_in_python`
- `proxies`: one program for each design; `designs` says how each is started and what it does not do
- `integrity`: whether a design is byte-exact; one that is not is not worth measuring
- `speed`, `idle`: rows and tables
"""
