"""A test of this tier starts no process."""

from tests.support.no_processes import no_processes  # noqa: F401  # a fixture for all tests here
