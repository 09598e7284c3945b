"""Polls waiting tasks for the triggerer: when, how often, and with which requests."""
