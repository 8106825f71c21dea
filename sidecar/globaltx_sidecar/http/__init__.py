"""Inbound HTTP: a proxy in front of the application that begins transactions and takes their outcome.

`filter` and `headers` decide, without IO, what a request means; `initiator` begins and decides
over a store; `proxy` moves the bytes.
"""
