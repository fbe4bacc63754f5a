"""The servers of the benchmark that are ours."""
