"""What is to be done next: pure decisions from a snapshot, the policy, the named reasons."""
