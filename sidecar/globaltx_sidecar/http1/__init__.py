"""HTTP/1.1 on the wire, on the side of the application: heads as bytes, answers as events, kept connections.

The parser is llhttp by httptools. What a request or an answer means is decided in `globaltx_sidecar.http`.
"""
