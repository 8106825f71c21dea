"""The MySQL protocol between the application and its database.

How a statement flows, each line one way, input and output only at its ends::

    bytes -> reader -> packets -> session -> commands -> server (the asyncio shell)

Whatever has nothing to tell us goes on as the bytes it came in. For other programs of the
sidecar there is one door, `globaltx_sidecar.mysql.server.serve`.
"""
