"""Train a plan in a real pipeline, one process a stage, and set what happened beside what was predicted."""

# General layout. A folder imports only from those below it.
#
#   cli/         python -m runtime: run, train, compare, verify
#   report/      a comparison in words, tables, charts, as one HTML page
#   compare/     run partitions in turn, keep every run, work out medians, ranks and the audit
#   timeline/    one run as a trace, a picture, a table;  verify/  a run against its replay, bit for bit
#   baselines/   one process with several threads, which one would run instead
#   pipeline/    the parent's side of a run: slices, memory guard, execution, result
#   supervisor/  start, watch and end stage processes;  hosts/  several hosts under torchrun as one run
#   worker/      what runs inside a stage's process
#   channels/    move tensors between stages: shared-memory rings, gloo
#   results.py   the files of runs and verifications
#   errors.py    what users are told: errors, who failed, and whose failure comes first
