"""A soak, run by hand: `python -m tests.soak --minutes 10`. Real clients, real proxies, and everything is hit, again and again.

    clients (processes) ──> proxy (a process: forwarders, TLS, CONNECT, SOCKS5) ──> backends (processes)
        ▲                                                                               ▲
        └────────── SIGSTOP, SIGKILL, resets, from `__main__`, all on loopback ─────────┘

Each connection sends bytes, says that it has no more, and gets the hash of what came and bytes of its own; `talk` has both
sides of that. A connection may be cut by what is done to its peers, but then it must look cut: an answer that is short and
ends well is only excused where its backend was killed meanwhile, as the kernel ends a dead process's connections so. In the end
the proxy's descriptors, tasks, memory and counters must be back where they were.
"""
