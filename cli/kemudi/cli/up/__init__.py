"""`kemudi up`: everything on this machine, in one folder, ended by one Ctrl-C."""
