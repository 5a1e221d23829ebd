"""Recordings in, maps and networks out. No torch model in sight."""
