"""The command line by module name: ``python -m tl_fbn`` does what the command ``tl-fbn`` does."""

from tl_fbn.cli import main

main()
