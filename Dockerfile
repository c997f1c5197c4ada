# The image of head and workers: Ray's own, with the package and the entry points of jobs in it.
#
#   docker build --tag registry.example/emrl-ray:2.60.0 .
#   docker build --tag registry.example/emrl-ray:2.60.0-gpu --build-arg BASE=rayproject/ray:2.60.0-py311-gpu .
#
# For CPUs alone, --build-arg PIP_EXTRA_INDEX_URL=... with the index of torch's CPU builds saves some 5 GB.
ARG BASE=rayproject/ray:2.60.0-py311-cpu
# hadolint ignore=DL3006
FROM ${BASE}

ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /home/ray/emrl_ray

COPY --chown=ray:users pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY --chown=ray:users emrl_ray ./emrl_ray
COPY --chown=ray:users jobs ./jobs

RUN pip install --no-cache-dir --constraint constraints.txt '.[aws]'

ENV RAY_AUTH_MODE=token
