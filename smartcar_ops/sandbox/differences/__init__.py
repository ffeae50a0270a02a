"""What V2 and V3 tell differently on purpose, with the verdict a comparison must find."""
