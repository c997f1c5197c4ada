"""Predict and rank a library of candidates, as a job: `ray job submit ... -- python jobs/screen.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("screen", sys.argv[1:]))
