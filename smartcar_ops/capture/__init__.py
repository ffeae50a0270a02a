"""User ids from Connect redirects and webhooks (notebook 50)."""
