"""What the engine costs: ticks, whole jobs, parked jobs.

- `ticks`: the run loop
- `jobs`: a whole job, beside `raw` (trio by hand), `naive` (a core built without much thought), `others` (other libraries)
- `parked`: memory, and cancelling; each trial in a process of its own
"""
