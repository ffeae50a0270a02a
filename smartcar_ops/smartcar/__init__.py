"""The only room that speaks HTTP to Smartcar; wire shapes never pass above it."""
