# Every command on a CPU; without one, the server, which asks for a token since it is reached from outside its container.
#   docker build -t midifactory .
#   export MIDIFACTORY_TOKEN=$(openssl rand -hex 24)
#   docker run --rm -e MIDIFACTORY_TOKEN -p 127.0.0.1:8000:8000 -v "$PWD/outputs:/home/composer/outputs" midifactory
#   docker run --rm -v "$PWD/outputs:/home/composer/outputs" midifactory generate bars=8
FROM python:3.11-slim

# fluidsynth: sound, with the SoundFont that pretty_midi brings. gcc: the step of the decoder that is compiled once (models/step.c); it is half as fast without.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fluidsynth gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# From torch's own index, whose wheels for CPUs carry no CUDA; a layer of its own, as it changes least.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.6,<2.14"

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir ".[serve,hub,onnx]"

RUN useradd --create-home --uid 1000 composer
USER composer
WORKDIR /home/composer
RUN mkdir outputs

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["midifactory"]
CMD ["serve", "host=0.0.0.0"]
