"""Plugins: pages of ours inside Airflow."""
