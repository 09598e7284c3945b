"""Tells what a file is by its content, and proves that it is whole."""
