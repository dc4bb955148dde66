# The image of mxjob: one statically linked program. `cargo xtask image` builds the program without a
# network, tries it in an empty root folder, and copies it and this file to target/image:
#
#   cargo xtask image
#   docker build --tag registry.example.com/mxjob:0.1.0 target/image
#
# --build-arg BASE=... chooses another base, for example one with a shell.
ARG BASE=scratch
FROM ${BASE}
COPY mxjob /mxjob
# An unused user id, as a number, so that a cluster can see that it is not root.
USER 65532:65532
# The webhook, the metrics and the probes of `mxjob operator`.
EXPOSE 9443 8080 8081
ENTRYPOINT ["/mxjob"]
CMD ["operator"]
