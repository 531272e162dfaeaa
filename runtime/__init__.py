"""Execution and evidence: processes, channels, weight versions, and the comparison of splits."""
