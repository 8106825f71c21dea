"""The command line: `globaltx` and `kubectl-globaltx`."""
