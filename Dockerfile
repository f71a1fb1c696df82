# The server in a container, with the starter model. docs/container.md says what the image holds and
# how to run it:
#
#     docker build -t denoised .
#     docker run --rm -p 50051:50051 -p 8080:8080 --read-only --ulimit nofile=65536:65536 denoised
#
# For NVIDIA GPUs, which needs the NVIDIA Container Toolkit on the host and downloads 2 GB more:
#
#     docker build --build-arg CUDA=1 -t denoised:cuda .
#     docker run --rm --gpus all -p 50051:50051 -p 8080:8080 --read-only \
#       --ulimit nofile=65536:65536 denoised:cuda
#
# Raise the limit of open files as above: it bounds how many connections the server takes.
# scripts/check-container builds the image, runs it and tests what this file promises.

ARG BASE=docker.io/library/debian:12

FROM ${BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 XDG_CACHE_HOME=/cache npm_config_cache=/cache/npm
WORKDIR /src

# Downloads and compiled files stay in caches of the builder, so a second build takes minutes. They
# are at /cache and not in a home, because buildah 1.28 empties the stage if its own storage is below
# the place of a cache; and one cache is locked, because it forgets all locks of a RUN but the last.
COPY scripts/bootstrap scripts/libtorch scripts/libtorch.lock scripts/node scripts/node.lock scripts/wheels.py scripts/
RUN --mount=type=cache,id=denoised-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=denoised-cache,target=/cache \
    rm -f /etc/apt/apt.conf.d/docker-clean \
 && apt-get -qq update && apt-get -qq -o Dpkg::Use-Pty=0 upgrade --yes \
 && scripts/bootstrap --build
COPY deploy/container/requirements.txt deploy/container/
RUN --mount=type=cache,id=denoised-cache,target=/cache \
    python3 -m pip install --quiet --root-user-action=ignore --no-deps --require-hashes \
      --target=/opt/syft --requirement=deploy/container/requirements.txt

COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY proto proto
COPY core core
COPY server server
COPY client client
# 1 adds the CUDA libraries.
ARG CUDA=0
# bootstrap finds nothing to do for the CPU, unless the builder has dropped its cache since.
RUN --mount=type=cache,id=denoised-cache,target=/cache \
    if [ "$CUDA" = 1 ]; then scripts/bootstrap --build --cuda; else scripts/bootstrap --build; fi \
 && cmake --preset release -DDENOISE_BUILD_TESTS=OFF -DDENOISE_BUILD_BENCH=OFF \
 && cmake --build --preset release --target denoised denoise \
 && cmake --install build/release --strip --prefix /rootfs/usr/local \
 && if [ "$CUDA" = 1 ]; then \
      cmake --install build/release --strip --prefix /rootfs/usr/local --component cuda; \
    fi

COPY LICENSE ./
COPY deploy/models /rootfs/models
COPY deploy/container deploy/container
RUN deploy/container/make-root --build build/release /rootfs
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
RUN test "$(/rootfs/usr/local/bin/denoised --version)" = "denoised $VERSION" \
 && printf 'version %s\nrevision %s\ncreated %s\n' "$VERSION" "$REVISION" "$CREATED" \
      >/rootfs/usr/share/doc/denoised/build.txt \
 && export PYTHONPATH=/opt/syft SYFT_CHECK_FOR_APP_UPDATE=false \
 && /opt/syft/bin/syft scan dir:/rootfs --quiet \
      --override-default-catalogers image --source-name denoised --source-version "$VERSION" \
      --output cyclonedx-json@1.6=/rootfs/usr/share/doc/denoised/sbom.cdx.json
# LibTorch gets a layer of its own, with the same bytes in every build: a machine that has an older
# image downloads only the rest.
RUN mkdir -p /state /libtorch/usr/local/lib/denoised \
 && cd /rootfs/usr/local/lib/denoised \
 && mv torch nvidia *.dist-info /libtorch/usr/local/lib/denoised/ \
 && find /libtorch -exec touch --no-dereference --date=@0 {} +

# No distribution below it: /rootfs has the libraries that the programs load, and no shell.
FROM scratch
COPY --from=build /libtorch /
COPY --from=build /rootfs /
# A volume that is mounted here for --state is writable for the server's user.
COPY --from=build --chown=10001:10001 /state /state
ENV PATH=/usr/local/bin
USER 10001:10001
EXPOSE 50051 8080
# The exec form: SIGTERM reaches denoised itself, which then drains. It starts no other process, so
# it can be the first of the container.
ENTRYPOINT ["/usr/local/bin/denoised"]
CMD ["--models", "/models", "--listen", "0.0.0.0:50051", "--http", "0.0.0.0:8080"]
# Every check opens a new connection, and so notices a listener that has died. The server answers
# once its models have loaded, which takes a while for large ones.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
  CMD ["/usr/local/bin/denoise", "health", "--service", "liveness", "--server", "127.0.0.1:50051"]

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="denoised" \
      org.opencontainers.image.description="A gRPC service that generates images with diffusion models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
