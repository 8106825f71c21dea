"""Run a program with OpenTelemetry's stock instrumentation: ``python tracing.py orders.py``.

What the command opentelemetry-instrument does, and one setting for which that has no flag: statements carry
their trace as a comment. An exporter would be set here as well.
"""

from __future__ import annotations

import runpy
import sys

from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.mysql import MySQLInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider

if __name__ == "__main__":
    trace.set_tracer_provider(TracerProvider())
    FlaskInstrumentor().instrument()
    RequestsInstrumentor().instrument()
    MySQLInstrumentor().instrument(enable_commenter=True)
    runpy.run_path(sys.argv[1], run_name="__main__")
