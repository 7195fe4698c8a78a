"""The image balancer: three programs that resize a folder of pictures, built from jobs.

    client ──┐                       ┌── backend b1
      scan   │  frames over TCP      │     read ─ resize ─ write
      read   ├────> balancer ────────┼── backend b2
      write  │   accept ─ relay      │
      save ──┘                       └── backend b3

Where to look for what:

- `messages`: what client and backend say to each other
- `images`: what is done to a picture (pillow)
- `backend`, `proxy`: two servers, each a listener and a job per connection
- `connection`, `client`, `work`: one connection of the client, all of them together, the list of what is to be done
- `program`: the log, the exit code and one line per mistake
- `demo`, with `drawing`, `processes`, `sheet`: all of it at once, and a backend killed in the middle
- `__main__`: the command line
"""
