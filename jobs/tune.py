"""Search the hyperparameters of train, as a job: `ray job submit ... -- python jobs/tune.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("tune", sys.argv[1:]))
