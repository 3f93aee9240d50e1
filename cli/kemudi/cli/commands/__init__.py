"""One module per command; `kemudi.cli.main.COMMANDS` names them, so `--help` imports none of their parts."""
