"""Connections, subscriptions and webhooks, by both management APIs."""
