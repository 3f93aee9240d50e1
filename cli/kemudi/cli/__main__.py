"""`python -m kemudi.cli` is the same program as `kemudi`."""

from kemudi.cli.main import main

if __name__ == "__main__":
    main()
