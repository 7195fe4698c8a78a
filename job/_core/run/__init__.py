"""One run of a job, from the first init to the last finalizer."""
