"""Decisions: from a profile to the best split, the six schemes, the schedule and its simulation."""
