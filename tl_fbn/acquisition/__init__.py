"""Prompts in, recordings out."""
