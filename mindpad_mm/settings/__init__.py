"""The settings of each tool: what its command line, Python callers and its results share.

Nothing here imports torch, so that a command line answers at once. Names of registered things, such as
padding modes, engines and checks, are looked up where the tool starts.
"""
