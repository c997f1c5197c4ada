"""Find the pairs of a crystals table, as a job: `ray job submit ... -- python jobs/featurize.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("featurize", sys.argv[1:]))
