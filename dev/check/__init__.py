"""What `make test` does: lint, types, layers, then every suite, with progress and a table at the end."""
