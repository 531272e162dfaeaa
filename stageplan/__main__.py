"""Be the command ``stageplan``."""

if __name__ == "__main__":
    import sys

    try:
        from runtime.cli.stageplan import program

        program()
    except KeyboardInterrupt:  # so early that nothing was begun
        sys.exit(130)
