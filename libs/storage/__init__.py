"""PostgreSQL: pool, migrations, named queries, and the ledger of what was handled and recorded."""
