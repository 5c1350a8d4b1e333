"""Machine learning where the data lives: the command line, the local server and the runtime."""

__version__ = "0.2.0"
