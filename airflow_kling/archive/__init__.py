"""Images of a finished task -> the team's own storage: guarded download, verified, atomic, with a manifest."""
