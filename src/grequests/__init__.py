"""GRequests (being built)."""
