"""The bounds on waiting for a store, in seconds unless a name says otherwise.

They are chosen so that the outcome of a commit is known within the 30 s of a call wherever it can be: 10 s for the
commit, then 18 s to find out what became of it.
"""

WRITERS, READERS = 8, 8
"""The most connections of a process for transactions, and for reads."""
FILE_READERS = 4
"""The same for reads of a SQLite database, where more threads take turns at the interpreter's lock."""
CONNECTIONS = WRITERS + READERS
"""The most connections of a service to PostgreSQL."""
BUSY_TIMEOUT = 5.0
"""For a lock that another process holds, or for a free connection."""
QUEUE_TIMEOUT = 10.0
"""For the turn to write. After that the work has not begun."""
ANSWER_TIMEOUT = 10.0
"""For one answer of PostgreSQL, a commit's too. It is longer than `BUSY_TIMEOUT`, which PostgreSQL keeps itself."""
SETTLE_TIMEOUT = 18.0
"""To find out whether a commit took place after its connection broke."""
FOLLOW_TIMEOUT = 30.0
"""For the request that commits the work of others. After that the outcome is not known."""
READ_TIMEOUT = 15.0
"""For the last attempt of a read to begin."""
MAINTENANCE_TIMEOUT = 3600.0
"""For one answer of PostgreSQL to an operator's command, which may change every row."""
CHECK_TIMEOUT = 2.5
"""For a lock of SQLite, or one answer of PostgreSQL, to a check whether the store is well."""
LOOK_TIMEOUT = 0.5
"""For such a check to look through a SQLite database, as far as it comes."""
FRESH = 1.0
"""The age of a commit which still proves that the store can be written to."""
WRITER_TIMEOUT = 10.0
"""For the commit of a batch to SQLite, whose lock another process may hold, before the store counts as not well."""
STUCK_TIMEOUT = 4.0
"""The same for PostgreSQL."""
