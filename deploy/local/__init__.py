"""Runs a whole Airflow and the emulator on this machine."""
