"""`python -m emrl_ray VERB` is `emrl-ray VERB`."""

import sys

from emrl_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
