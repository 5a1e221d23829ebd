"""``python -m tl_fbn`` is ``tl-fbn``."""

from tl_fbn.cli import main

main()
