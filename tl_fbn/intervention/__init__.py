"""Networks in, behaviour out."""
