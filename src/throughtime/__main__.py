"""`python -m throughtime` is the command line."""

from throughtime.cli import main

main()
