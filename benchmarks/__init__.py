"""Measures waiting, archiving and parsing, beside what users have without this package; see docs/performance.md."""
