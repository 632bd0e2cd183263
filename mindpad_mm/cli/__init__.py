"""The command line: one file a command, which only reads arguments and calls the library."""
