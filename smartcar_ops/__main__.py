"""``python -m smartcar_ops`` is the command ``smartcar-ops``."""

from smartcar_ops.entry_point import main

if __name__ == "__main__":
    main()
