"""Connections, subscriptions and webhooks, in both management APIs."""
