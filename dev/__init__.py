"""Tools of the project: a local Kubernetes, databases, images. Not part of the distribution."""
