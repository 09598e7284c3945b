"""Adds pages to Airflow's UI."""
