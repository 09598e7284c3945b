"""What waiting, archiving and parsing cost, beside what users have without this package; see docs/performance.md."""
