"""Injects faults into the emulator's answers."""
