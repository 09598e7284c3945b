"""`make demo` and `make up`: a real Airflow on this machine, against the Kling emulator or CometAPI."""
