"""The rows of the benchmark, each a module with a `measure`."""
