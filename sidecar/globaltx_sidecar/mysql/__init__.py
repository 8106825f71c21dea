"""The MySQL protocol between the application and its database.

How a statement flows, each line one way, input and output only at its ends::

    bytes -> session -> commands (globaltx_sidecar.commands) -> connection -> sockets

- ``server``, ``connection``: the asyncio shell, with ``asking`` (what the rest of the sidecar is asked and
  told) and ``sockets``. For other programs of the sidecar there is one door,
  `globaltx_sidecar.mysql.server.serve`.
- ``session``: the conversation of one client, made of ``login`` (greeting and response; ``handshake``
  reads them), ``intake`` (the client's bytes that must wait), ``road`` (what has nothing to tell
  passes as the bytes it came in) and ``worker`` (drives the work on one packet).
- ``phase_one``, ``change``, ``local_commit``: that work, as generators over ``steps``: what a packet that
  may carry an xid leads to, a change with its image, the commit with its undo records. ``local``
  is where a connection stands, ``statements`` and ``parameters`` are its prepared statements,
  ``trains`` what is sent in one write, ``errors`` what the application is told.
- ``packets``, ``reader``, ``results``, ``replies``: the protocol itself.
"""
