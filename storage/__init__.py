"""Where spans rest: the write-ahead journal, the Parquet lake and its SQL."""
