"""``python -m pgpredict``: the command line where no script is installed."""

from pgpredict.cli import main

main()
