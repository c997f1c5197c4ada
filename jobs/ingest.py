"""Read crystals from files into a crystals table, as a job: `ray job submit ... -- python jobs/ingest.py --config FILE`."""

import sys

from emrl_ray.cli import run

if __name__ == "__main__":
    sys.exit(run("ingest", sys.argv[1:]))
