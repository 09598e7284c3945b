"""Shows what was generated and archived as a page in Airflow's UI (Airflow 3.1+)."""
