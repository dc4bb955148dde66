# The image of mxjob: one statically linked program and nothing else. `cargo xtask image` builds the program from this tree, without a
# network, tries it in an empty root, and lays it out beside this file in target/image:
#
#   cargo xtask image
#   docker build --tag registry.example.com/mxjob:0.1.0 target/image
#
# Another base is chosen with --build-arg BASE=..., such as one that has a shell.
ARG BASE=scratch
FROM ${BASE}
COPY mxjob /mxjob
# Nobody's user, by number, so that a cluster can tell that it is not root.
USER 65532:65532
# The webhook, the metrics and the probes of `mxjob operator`.
EXPOSE 9443 8080 8081
ENTRYPOINT ["/mxjob"]
CMD ["operator"]
