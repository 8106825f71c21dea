"""What is true of a global transaction wherever it runs.

Everything below this package is pure (no sockets, no clock, no randomness),
but for ``globaltx.stores``, which is where transactions are made durable.
"""

__version__ = "0.1.0"
