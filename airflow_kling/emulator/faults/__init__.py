"""Injects faults into the emulator's answers: a book of them, a middleware, odd responses."""
