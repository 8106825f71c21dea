"""The store for load: an etcd of the user's own, spoken to by gRPC."""
