"""Who lacks a Smartcar user id, and why (notebook 20)."""
