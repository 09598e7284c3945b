"""What a DAG author writes: submit a generation, archive its images."""
