"""Faults a scan must survive, each in a process of its own."""
