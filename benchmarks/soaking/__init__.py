"""The soak: millions of requests with faults among them, and what has to be true at the end."""
