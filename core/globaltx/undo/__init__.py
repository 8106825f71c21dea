"""AT: from the SQL of the application to undo records, and from undo records back to SQL."""
