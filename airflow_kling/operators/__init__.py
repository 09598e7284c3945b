"""Offers what a DAG author writes: operators that submit, archive, review and publish."""
