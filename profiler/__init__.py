"""Facts: a model's layers, what each costs on one core, and the code that is timed because it is what runs.

Importing this package is cheap; modules that need torch are imported by those who use them.
"""
