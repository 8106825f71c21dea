"""The schema of a list of places that may be called."""

from __future__ import annotations

from globaltx.manifest.schemas.fields import Schema, fields, several, text, whole

PATH = r"^/[^?#\x00-\x20\x7f]*$"
PATH_LENGTH_MAX = 512
PORT_MAX = 65535
HOST = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
EGRESS_MAX = 64
EGRESS_PORTS_MAX = 16
EGRESS_PATHS_MAX = 32


def egress(description: str) -> Schema:
    """The list; there is one entry at least."""
    place = fields(
        "A place that may be called.",
        {
            "host": text(
                "The host as the URLs have it, exactly; a name or an IPv4 address, in lower case.",
                253,
                minLength=1,
                pattern=HOST,
            ),
            "ports": several("The ports there.", whole("A port.", 1, PORT_MAX), EGRESS_PORTS_MAX, minItems=1),
            "paths": several(
                "The first segments of the paths there; without it all paths.",
                text("First segments (/a allows /a/b, not /ab).", PATH_LENGTH_MAX, pattern=PATH),
                EGRESS_PATHS_MAX,
            ),
        },
        required=["host", "ports"],
    )
    return several(description, place, EGRESS_MAX, minItems=1)
