"""Where V2 and V3 differ on purpose, each difference with the verdict that a comparison must find."""
