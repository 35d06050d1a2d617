"""A stream of records in shared memory: one writer that waits for nobody, readers with a cursor each."""
