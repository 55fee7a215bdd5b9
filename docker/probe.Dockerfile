# An image that has nothing but its program, with something to ask it by: health checks run inside. And folders for data, which
# volumes take their owner from.
ARG IMAGE
ARG BUSYBOX_IMAGE=busybox:1.37.0-musl
FROM ${BUSYBOX_IMAGE} AS tools
RUN mkdir /empty

FROM ${IMAGE}
COPY --from=tools /bin/busybox /bin/busybox
COPY --from=tools --chown=10001:10001 /empty /var/tempo
COPY --from=tools --chown=10001:10001 /empty /var/lib/otelcol
