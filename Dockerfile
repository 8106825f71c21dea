# The two images of globaltx: --target operator, --target sidecar.
# The base needs python3 (3.11 or later) with venv, and is both where the packages are installed and
# where they run. Nothing is compiled: the lock files name wheels.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS tools
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/globaltx

# Bytecode is made here, once, and never compared with its source again: the images are read-only.
FROM tools AS operator-packages
COPY requirements-operator.lock /requirements.lock
RUN /tools/bin/pip --python /opt/globaltx/bin/python3 install --no-cache-dir --no-compile \
    --disable-pip-version-check --only-binary=:all: --require-hashes -r /requirements.lock
COPY core/globaltx /tmp/code/globaltx
COPY operator/globaltx_operator /tmp/code/globaltx_operator
RUN mv /tmp/code/* /opt/globaltx/lib/python3*/site-packages/ \
    && /opt/globaltx/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/globaltx/lib

FROM tools AS sidecar-packages
COPY requirements-sidecar.lock /requirements.lock
RUN /tools/bin/pip --python /opt/globaltx/bin/python3 install --no-cache-dir --no-compile \
    --disable-pip-version-check --only-binary=:all: --require-hashes -r /requirements.lock
COPY core/globaltx /tmp/code/globaltx
COPY sidecar/globaltx_sidecar /tmp/code/globaltx_sidecar
RUN mv /tmp/code/* /opt/globaltx/lib/python3*/site-packages/ \
    && /opt/globaltx/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/globaltx/lib

FROM ${BASE_IMAGE} AS runtime
ENV PATH=/opt/globaltx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
LABEL org.opencontainers.image.title="globaltx" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/share/doc/globaltx/LICENSE
WORKDIR /
USER 65532:65532

FROM runtime AS operator
COPY --from=operator-packages /opt/globaltx /opt/globaltx
EXPOSE 8080 9443
ENTRYPOINT ["/opt/globaltx/bin/python3", "-m", "globaltx_operator.main"]

FROM runtime AS sidecar
COPY --from=sidecar-packages /opt/globaltx /opt/globaltx
EXPOSE 15000 15021
ENTRYPOINT ["/opt/globaltx/bin/python3", "-m", "globaltx_sidecar.main"]
