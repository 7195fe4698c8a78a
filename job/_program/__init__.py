"""A job as a program: signals, log output, exit code, the command line."""
