"""Finds out what this account, network and Airflow can do, before a DAG fails: ``python -m airflow_kling.doctor``."""
