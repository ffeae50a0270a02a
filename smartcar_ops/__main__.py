"""``python -m smartcar_ops`` is the command ``smartcar-ops``."""

from smartcar_ops.entrance import main

if __name__ == "__main__":
    main()
