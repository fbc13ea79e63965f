"""What loaders of SQL databases share: write methods, blocks of records, commit tokens, and SQLite's own parts."""
