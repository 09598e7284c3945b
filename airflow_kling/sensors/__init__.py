"""Lets a DAG author wait for a generation."""
