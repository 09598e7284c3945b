"""Follows a task through Airflow: templates, failing fast, waiting, starting in the triggerer."""
