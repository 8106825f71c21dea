"""Images for the local cluster, which pulls from no registry."""
