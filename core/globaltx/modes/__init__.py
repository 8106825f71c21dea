"""The modes, one file each: what phase one leaves and what an outcome asks of a branch."""
