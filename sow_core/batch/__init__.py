"""Many jobs from a file, on this machine or on a Ray cluster, that can be stopped and started again at any time.

    from sow_core.batch.run import run_batch
    run_batch("jobs.jsonl", "out")

`task`: a line of the jobs file; `survey`: what of it is to be done; `results`: what has been; `worker`: a model that
does jobs one by one; `local` and `rays`: who gives the workers their jobs; `run`: all of it together.
"""
