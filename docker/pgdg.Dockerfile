# The database for production: PostgreSQL 17 or 18 with Multicorn2, as the PostgreSQL project packages them for
# Enterprise Linux 9. Packages are installed, nothing is compiled.
#
# NOT EXERCISED BY THE TESTS OF THIS REPOSITORY: where those run its packages cannot be reached. On a machine that
# reaches them, docker/check-pgdg builds it and runs the tests of database and services with it; do that before you
# rely on it.
#
#   docker/check-pgdg 17 REPOSITORY
#
# REPOSITORY is the address of the project's package that configures its repository ("repository RPM" on its
# download page), for your version of Enterprise Linux and your processor. Then, with compose.yaml:
#
#   PGPREDICT_DATABASE_IMAGE=localhost/pgpredict/database:17 docker compose -f docker/compose.yaml up --wait

ARG BASE=rockylinux:9-minimal

FROM ${BASE}
ARG MAJOR=17
ARG REPOSITORY
RUN --mount=type=bind,source=docker/steps,target=/mnt \
    /mnt/pgdg-packages "${MAJOR}" "${REPOSITORY}" && /mnt/account 10432
COPY docker/database /usr/local/lib/pgpredict/database
COPY fdw /usr/local/lib/pgpredict/packages/fdw
COPY sql/pgpredict.control sql/pgpredict--*.sql /usr/pgsql-${MAJOR}/share/extension/
RUN --mount=type=bind,source=docker/steps,target=/mnt /mnt/pgdg "${MAJOR}"
ENV PGDATA=/var/lib/postgresql/${MAJOR}/data
USER 10432:10432
VOLUME ["/var/lib/postgresql"]
EXPOSE 5432
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["pgpredict-health"]
# there is no tini: the entry point stays process 1 and waits for orphans, which a server would take for its own
ENTRYPOINT ["pgpredict-database"]
CMD ["postgres"]
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pgpredict database" \
      org.opencontainers.image.description="PostgreSQL ${MAJOR} with Multicorn2 and the extension pgpredict" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
