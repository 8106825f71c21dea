"""The words of the field as types: transactions, branches, outcomes, their legal moves."""
