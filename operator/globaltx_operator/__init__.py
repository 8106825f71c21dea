"""The operator: reconciles GlobalTransactions and Branches, injects sidecars."""
