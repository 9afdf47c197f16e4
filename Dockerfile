# One image for the worker, the sandbox exchange and the sample crew: `docker build -t agentexchange .`
# and one with the inspector's page, 55 MB larger: `docker build --target inspector -t agentexchange-inspector .`
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY sdk sdk
COPY bridge bridge
RUN python -m venv /opt/agentexchange \
 && /opt/agentexchange/bin/pip install --no-cache-dir --disable-pip-version-check ".[bridge]"

FROM build AS build-inspector
RUN /opt/agentexchange/bin/pip install --no-cache-dir --disable-pip-version-check ".[inspector]"

FROM python:3.13-slim AS base
LABEL org.opencontainers.image.title="agentexchange" org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin agentexchange
ENV PATH=/opt/agentexchange/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001

FROM base AS inspector
COPY --from=build-inspector /opt/agentexchange /opt/agentexchange
EXPOSE 8080
# On any address but the loopback it asks for a token: AGENTEXCHANGE_INSPECT_TOKEN, or one that it makes and prints.
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8080, timeout=3); c.request('GET', '/'); raise SystemExit(c.getresponse().status >= 500)"]
CMD ["agentexchange", "inspect", "--host", "0.0.0.0"]

FROM base
COPY --from=build /opt/agentexchange /opt/agentexchange
COPY examples/crew_consumer.py /app/examples/
EXPOSE 9464
# The worker's: ready is also the one that stands by. compose.yaml replaces it for the other services.
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9464/readyz', timeout=3)"]
CMD ["agentexchange", "bridge", "--http", "0.0.0.0:9464"]
