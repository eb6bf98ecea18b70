"""What every screen shares: access control, htmx, responses, static files, loading, transactions."""
