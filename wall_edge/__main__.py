"""``python -m wall_edge``."""

from wall_edge.cli import main

if __name__ == "__main__":
    main()
