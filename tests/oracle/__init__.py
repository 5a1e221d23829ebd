"""Slow, plain computations by other people's code, for tests to compare with."""
