"""Telling outcomes to those who want to be told: the leader of the initiator's app sends them, signed."""
