"""Stores objects below a destination: whole or not at all."""
