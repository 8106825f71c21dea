"""The whole thing in front of one's eyes: a Kubernetes, an order across two databases, three endings."""
