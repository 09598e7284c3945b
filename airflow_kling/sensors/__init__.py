"""What a DAG author writes: wait for a generation."""
