"""``python -m groundtune``."""

from groundtune.cli.main import main

main()
