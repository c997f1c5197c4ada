"""Train a model on a crystals table, as a job: `ray job submit ... -- python jobs/train.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("train", sys.argv[1:]))
