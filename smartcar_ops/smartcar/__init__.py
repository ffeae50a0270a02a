"""Clients of Smartcar's APIs. Only this folder sends HTTP to Smartcar; its callers never see wire formats."""
