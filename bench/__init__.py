"""What a sidecar costs: ``python -m bench`` measures it and writes results.json and results.svg."""
