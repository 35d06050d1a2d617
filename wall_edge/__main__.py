"""``python -m wall_edge``, and the ``wall-edge`` script."""

from wall_edge.signals import hold


def main() -> None:
    """Entry point. A signal waits from here on: imports take long, and none is to end in a traceback."""
    hold()
    from wall_edge.cli import main as command

    command()


if __name__ == "__main__":
    main()
