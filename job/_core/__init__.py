"""The engine: what runs a job. Private; its public names are in `job`."""
