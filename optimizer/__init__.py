"""Where to cut a model into pipeline stages: the best split for a profile, proven, beside the six schemes."""

# General layout. A folder imports only from those below it; only the command line needs torch, to profile.
#
#   cli/         python -m optimizer
#   report/      a plan as tables;  what_if/  a page in which cuts are moved by hand
#   planning/    the models to plan for, and plans by name: optimized, the six schemes
#   search/      the best split: candidates for cuts, what stages between them cost, one recurrence
#   costs/       a profile as integers, cuts and limits: the problem to solve
#   plan/        the plan as data (a JSON file)
#   schedule/    1F1B and others as lists of actions: proofs, room they need, simulation
