"""The API on loopback, for programs that no HTTP request starts: workers, schedules, scripts.

`schemas` says what is asked and answered, `openapi` writes that down for clients, `service` does it
over the store, `server` listens.
"""
