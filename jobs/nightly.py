"""Read, screen and rank what is new since the last night, as a job: `ray job submit ... -- python jobs/nightly.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("nightly", sys.argv[1:]))
