"""Reads Airflow connections of type ``kling``."""
