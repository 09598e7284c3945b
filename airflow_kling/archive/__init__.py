"""Moves the results of finished tasks into the team's own storage: guarded, verified, whole, with a manifest."""
