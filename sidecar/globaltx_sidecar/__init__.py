"""The sidecar: between the application and its databases, and before its HTTP port."""
