"""AT: from the SQL of the application to undo records, and from undo records back to SQL.

All of it is pure: bytes and numbers in, SQL and values out. What the MySQL session does with it::

    from globaltx.undo import hint, ledger, locks, plan, statement

    taken = hint.take(packet_sql, mode)            # mode: SqlMode of the connection
    if taken.xid is None and not pinned: ...       # passed on unparsed
    change = statement.analyse(taken.sql, mode)    # RefusedError -> ERR 1105 "globaltx: {error}"
    shape = await schemas.shape(change.table.schema or current_schema, change.table.name)
    planned = plan.make_plan(change, shape, mode)  # RefusedError, as above

An UPDATE in autocommit, two trips (with the registration beside the first)::

    sql = statement.text(change, mode)             # taken.sql with a keyword schema quoted
    -> BEGIN; {planned.image}; {sql}               one multi-statement COM_QUERY
    <- OK, resultset [(row_key, image), ...], OK   the last OK is the application's answer
    records = planned.records(rows, Ok(affected_rows, insert_id, info))
                                                   # RowsMissedError -> ROLLBACK, ERR 1213
    work.add(records)
    await branches.joined(xid, resource)
    -> {locks.undo_insert(schema, xid, work.records)}; COMMIT
    <- OK, OK                                      now the application gets its OK
    work.clear()

When no record came of it (no row matched) ``COMMIT`` alone ends it. An error whose code is in
``locks.LOCK_CONFLICT_ERRORS`` means that another xid holds a row; nothing is lost yet, the local
transaction is still open::

    -> {locks.HOLDER_QUERY}
    other = locks.holder(rows[0][0])
    its outcome Commit:   -> {locks.undo_insert(schema, xid, work.records, committed=[other])}; COMMIT
    its outcome Rollback: -> ROLLBACK, ERR 1213;   undecided: wait, bounded, then ROLLBACK, ERR 1205
    other == xid:         -> ROLLBACK, ERR 1105 AlreadyDecided (a rollback has fenced it)
    None:                 -> ROLLBACK, ERR 1105 StatementNotUndoable (an inserted key was not found again)

A local transaction of three statements, the second of which fails::

    BEGIN                      -> as it is         analyse: Control(Verb.BEGIN)
    INSERT /*+ XID(..) */ ...  -> {sql}            planned.image is None for an INSERT
                               <- OK               work.add(planned.records([], ok))
    UPDATE ...                 -> {image}; {sql}
                               <- resultset, ERR   passed on; nothing is added to the ledger, the
                                                   server undid the statement itself (after a
                                                   deadlock, 1213, all is gone: work.clear())
    DELETE ...                 -> {image}; {sql}
                               <- resultset, OK    work.add(planned.records(rows, ok))
    COMMIT                     -> {undo_insert}; COMMIT

SAVEPOINT a, ROLLBACK TO a and RELEASE a are passed on and, once the server said OK, told to
the ledger. COM_STMT_EXECUTE: ``plan.make_plan(change, shape, mode, parameters)`` and
``statement.bind(change, parameters, mode)`` in place of ``statement.text``.
"""
