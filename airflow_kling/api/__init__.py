"""Kling's HTTP API, free of Airflow: gateways as data, models with the documented limits, clients over httpx."""
