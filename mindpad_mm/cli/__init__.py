"""The command line: one module per command, which parses arguments and calls the library.

``mindpad.py``, outside the package, starts them. Modules that need torch are imported after the arguments
are parsed, because that import takes seconds.
"""
