"""HTTP/1.1 on the wire, on both sides: heads as bytes, messages as events, kept connections.

`server`, `inbound` and `exchange` are the side of the clients, over `requests` and `framing`; `pool` and
`connection` that of the application, over `answers`. The parser is llhttp by httptools. What a request or
an answer means is decided in `globaltx_sidecar.http`.
"""
