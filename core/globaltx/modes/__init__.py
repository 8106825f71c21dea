"""The modes, one file each: what phase one leaves and what an outcome asks of a branch."""

from __future__ import annotations

from globaltx.transaction.model import Mode

BUILT = (Mode.AT, Mode.TCC, Mode.TCD, Mode.SAGA)
"""The modes that a policy may ask for; a word that nothing carries out must be refused."""
