# syntax=docker/dockerfile:1
# docker build -t palisade .
# docker run --read-only -v "$PWD/my-conf:/etc/palisade:ro" -v palisade:/var/lib/palisade -p 8080:8080 palisade
FROM rust:1.95-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake gcc g++ make libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin palisade \
 && packaging/third-party > third-party

FROM debian:12-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 900 --home-dir /var/lib/palisade --shell /usr/sbin/nologin palisade \
 && install -d -o palisade -g palisade -m 0750 /var/lib/palisade
COPY --from=build /src/target/release/palisade /usr/bin/palisade
COPY --from=build /src/third-party /src/LICENSE /src/NOTICE /usr/share/doc/palisade/
# Nothing is let through until a configuration is mounted over it. Its listeners must not be on loopback to be reached.
COPY packaging/palisade.yaml /etc/palisade/palisade.yaml
ENV STATE_DIRECTORY=/var/lib/palisade
VOLUME /var/lib/palisade
USER 900:900
EXPOSE 8080
STOPSIGNAL SIGTERM
# The admin address of the configuration, which is on loopback: the probe asks from inside.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["curl", "--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:9901/healthz"]
ENTRYPOINT ["/usr/bin/palisade"]
CMD ["run", "--conf", "/etc/palisade"]
