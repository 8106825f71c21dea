"""What the sidecar does with the branches of its application: register them, carry their outcome out."""
