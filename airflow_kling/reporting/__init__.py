"""Tells Airflow and its users what happened: XCom, assets, lineage, metrics, links."""
