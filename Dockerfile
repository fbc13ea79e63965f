# Build: docker build --tag etlctl .
# Run a workspace: docker run --rm --volume "$PWD:/workspace" etlctl run contracts/flights
FROM python:3.13-slim AS build

WORKDIR /source
COPY . .
RUN python -m venv /opt/etlctl && /opt/etlctl/bin/pip install --no-cache-dir ".[all]"

FROM python:3.13-slim

ENV PATH="/opt/etlctl/bin:$PATH" PYTHONUNBUFFERED=1
COPY --from=build /opt/etlctl /opt/etlctl
RUN useradd --uid 10001 --create-home etlctl && install --directory --owner etlctl --group etlctl /workspace

USER etlctl
WORKDIR /workspace
ENTRYPOINT ["etlctl"]
CMD ["--help"]
