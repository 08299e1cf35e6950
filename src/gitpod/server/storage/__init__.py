"""The store: SQLite or PostgreSQL, its schema and migrations."""
