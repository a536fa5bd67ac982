# The image of shardns. The final stage has no compiler, no package manager and no file that serving does not need:
# deploy/image/rootfs.py says what goes in.
#
#     docker build -t shardns .            where a registry can be reached
#     make image                           where none can: buildah, on a base that mmdebstrap makes of Debian's packages
#
# BASE_IMAGE is what the build stage begins with and what the final files are taken from: Debian 12 or newer, or another
# with Python 3.11 or newer, a C compiler, iptables and nft on it.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
# pip reads these three from the environment; `make image` builds from wheels in a folder, without any index.
ARG PIP_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=0
RUN if ! { command -v gcc && command -v nft && python3 -c 'import ensurepip, pathlib, sysconfig; \
        assert pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()'; } >/dev/null 2>&1; then \
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            gcc libc6-dev python3-dev python3-venv iptables nftables netbase dash coreutils; \
    fi
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
RUN if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi; \
    python3 -m venv /venv && \
    /venv/bin/pip install -q --disable-pip-version-check -c constraints.txt setuptools cffi
COPY shardns shardns
COPY supervisor supervisor
RUN if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi; \
    /venv/bin/pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation --no-compile \
        --target /packages .
COPY deploy/image/rootfs.py deploy/image/rootfs.py
RUN /venv/bin/python deploy/image/rootfs.py /packages /rootfs

FROM scratch
COPY --from=build /rootfs/ /
ENV PATH=/usr/sbin:/usr/bin
LABEL org.opencontainers.image.title="shardns" \
      org.opencontainers.image.description="A node-local DNS cache for Kubernetes, a drop-in for node-cache" \
      org.opencontainers.image.licenses="Apache-2.0"
# node-cache's image starts the same path, so that a manifest that gives only arguments, or names it, goes on working.
ENTRYPOINT ["/node-cache"]
