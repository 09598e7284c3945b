"""Receives Kling's callbacks, and notes which task a submission has become."""
