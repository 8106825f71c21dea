"""Transactions kept as custom resources: client, watcher, lease elector and the store itself."""
