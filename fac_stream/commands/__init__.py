"""The subcommands of ``fac``, one file each. Results go to standard output, all else to standard error."""
