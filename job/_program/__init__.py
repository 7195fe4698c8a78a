"""Run a job as a program: signals, log output, exit code, the command line."""
