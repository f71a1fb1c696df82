# The server in a container, with the starter model:
#
#     docker build -t denoised .
#     docker run --rm -p 50051:50051 -p 8080:8080 --ulimit nofile=65536:65536 denoised
#
# For NVIDIA GPUs, which needs the NVIDIA Container Toolkit on the host and downloads 2 GB more:
#
#     docker build --build-arg CUDA=1 -t denoised:cuda .
#     docker run --rm --gpus all -p 50051:50051 -p 8080:8080 --ulimit nofile=65536:65536 \
#       denoised:cuda
#
# Raise the limit of open files as above: running out of them ends gRPC's listener for good.

FROM debian:12 AS build
# 1 adds the CUDA libraries.
ARG CUDA=0
WORKDIR /src
COPY scripts/bootstrap scripts/libtorch scripts/libtorch.lock scripts/node scripts/node.lock scripts/wheels.py scripts/
RUN if [ "$CUDA" = 1 ]; then scripts/bootstrap --cuda; else scripts/bootstrap; fi
COPY . .
RUN cmake --preset release -DDENOISE_BUILD_TESTS=OFF -DDENOISE_BUILD_BENCH=OFF \
 && cmake --build --preset release --target denoised denoise \
 && cmake --install build/release --strip --prefix /opt/denoised \
 && if [ "$CUDA" = 1 ]; then \
      cmake --install build/release --strip --prefix /opt/denoised --component cuda; \
    fi

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates libabsl20220623 libcairo2 libchafa0 libgif7 \
      libgrpc++1.51 libjpeg62-turbo liblzma5 libpng16-16 libprometheus-cpp-core1.0 libprotobuf32 libsodium23 \
      libspdlog1.10 libsqlite3-0 libssl3 libutf8proc2 libwebp7 libwebpmux3 libzstd1 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home denoised
COPY --from=build /opt/denoised /usr/local
COPY --from=build /src/deploy/models /models
COPY --from=build /src/LICENSE /usr/share/doc/denoised/
USER 10001
EXPOSE 50051 8080
# The exec form: SIGTERM reaches denoised itself, which then drains. It starts no other process, so
# that it can be the first of the container.
ENTRYPOINT ["denoised"]
CMD ["--models", "/models", "--listen", "0.0.0.0:50051", "--http", "0.0.0.0:8080"]
# Every check opens a new connection, and so notices a listener that has died.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["denoise", "health", "--service", "liveness", "--server", "127.0.0.1:50051"]
