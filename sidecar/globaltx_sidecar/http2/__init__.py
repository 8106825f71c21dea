"""HTTP/2 in the clear: each connection of a client has one of its own to the application.

`h2` reads and writes the protocol; nothing of this is loaded before the first connection that speaks it
(`globaltx_sidecar.http.arrivals`). `side` is one end of the two connections, `exchange` one request on its
way, `conduct` the transaction that it begins, `bridge` what holds them together; `unread` passes bytes on
where no policy asks for more.
"""
