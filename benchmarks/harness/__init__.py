"""The parent's side of the benchmark: what to run, where, and what it showed."""
