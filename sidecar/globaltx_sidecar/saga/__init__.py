"""Conducting declared sagas: the leader of an app calls the steps of those that name it as the initiator."""
