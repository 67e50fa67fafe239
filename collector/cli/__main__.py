"""``python -m collector.cli`` is ``clearspan``."""

from collector.cli import main

main()
