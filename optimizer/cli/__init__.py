"""The command line of the optimizer."""
