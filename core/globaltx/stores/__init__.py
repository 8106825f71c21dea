"""Where transactions are durable: one protocol, one contract suite, several implementations."""
