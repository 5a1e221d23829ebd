"""Gradients in, maps out."""
