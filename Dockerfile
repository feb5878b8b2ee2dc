# `tokenroute` with both servers. This file was never built: it was written where no container
# engine could run. It runs the build of the README.
#
#     docker build --tag tokenroute .
#     docker run --rm tokenroute --help
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package tokenroute

FROM debian:bookworm-slim
# Certificate authorities, for an LLM or a model behind https.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 tokenroute
COPY --from=build /src/target/release/tokenroute /usr/local/bin/tokenroute
USER tokenroute
WORKDIR /home/tokenroute
ENTRYPOINT ["tokenroute"]
