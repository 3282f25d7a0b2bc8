# One image for every role: `carteiro producer`, `router`, `deliverer`, `control`, and all other commands. Its root file
# system is never written to; what a role keeps is in /var/lib/carteiro. Health checks are the composer's: which address a
# role listens on is configuration.
FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin carteiro

FROM debian:trixie-slim
# The authorities that endpoints' certificates are verified against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/carteiro /usr/local/bin/
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/carteiro
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
# A carteiro.toml that is mounted here is found.
WORKDIR /etc/carteiro
# Each container has its own: replicas of a role share nothing.
VOLUME /var/lib/carteiro
ENV CARTEIRO_DATA_DIR=/var/lib/carteiro CARTEIRO_OPS__LISTEN=0.0.0.0:9464 CARTEIRO_HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080 9464
ENTRYPOINT ["carteiro"]
