"""Custom resources to model and back, and the CustomResourceDefinitions made from one description."""
