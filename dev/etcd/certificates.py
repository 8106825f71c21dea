"""What an etcd of this machine is entered by, where that is TLS."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dev.cluster.certificates import authority, issue

if TYPE_CHECKING:
    from pathlib import Path


def make_certificates(pki: Path, client: Path) -> None:
    """Make an authority, and what it signs for the members and, in a folder of its own, for a client."""
    pki.mkdir(exist_ok=True)
    ca = authority("etcd")
    ca.write(pki, "ca")
    issue(ca, "server", hosts=["127.0.0.1", "localhost"]).write(pki, "server")
    issue(ca, "somebody").write(client, "tls")
    # Its gateway takes no client's certificate that has a common name, which it would take for a user.
    issue(ca, "", groups=["globaltx"]).write(pki, "asking")
    shutil.copy(pki / "ca.crt", client / "ca.crt")
