"""The notebooks with the outputs they should have, on a small company; `make golden` makes them anew."""
