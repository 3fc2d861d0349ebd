# The image of the service: the binary, root certificates and licenses, and nothing else. BuildKit builds it:
#
#   docker build --build-arg VERSION=0.1.0 --tag docket:0.1.0 .
#
# It needs no writable file: run it with --read-only and --cap-drop ALL.

# The version in .go-version.
ARG GO_VERSION=1.26.8

# The build runs on the machine's own platform, and Go compiles for that of the image.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
ENV GOCACHE=/cache/build GOMODCACHE=/cache/modules
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/cache go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
RUN --mount=type=cache,target=/cache \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X main.buildVersion=$VERSION -X main.buildCommit=$COMMIT" -o /out/docket ./cmd/docket && \
    go -C tools run ./release -licenses /out/docket > /out/THIRD-PARTY-LICENSES.txt

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE docs/third-party.md /licenses/
COPY --from=build /out/THIRD-PARTY-LICENSES.txt /licenses/
COPY --from=build /out/docket /docket
USER 65532:65532
EXPOSE 8000
# The same environment as that of the service says where to ask.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/docket", "health"]
ENTRYPOINT ["/docket"]
CMD ["serve"]
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Docket" \
      org.opencontainers.image.description="A task service for the users of Better Auth" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
