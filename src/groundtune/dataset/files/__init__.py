"""Dataset files of any format: rows in and out (``rows``, ``row_writer``), rows as items (``items``)."""
