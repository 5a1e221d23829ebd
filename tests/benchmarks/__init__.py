"""Measurements to be run by hand: each module is a script, ``python -m tests.benchmarks.<name>``, that prints a
table.
"""
