# One image for the Ray head, its workers and the API: they must agree on Python, Ray and the code.
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/hpo
COPY pyproject.toml constraints.txt README.md ./
COPY hpo hpo
COPY models models
COPY cluster cluster
COPY api api
# Where to take torch from is pip's setting: pass its options in, for example a CPU-only index, with --build-arg PIP_ARGS=…
ARG PIP_ARGS=""
RUN pip install ${PIP_ARGS} -c constraints.txt torch && pip install ${PIP_ARGS} -c constraints.txt '.[demo]'
COPY examples examples
RUN useradd --create-home hpo && mkdir -p /var/lib/hpo && chown hpo /var/lib/hpo
USER hpo
EXPOSE 8000 8265
CMD ["hpo", "serve"]
