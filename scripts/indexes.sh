# Sourced by the set-up scripts, with .venv/bin/python there: uv does not read pip's
# settings, so index and certificates are handed over.
setting() { .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true; }

index=${PIP_INDEX_URL:-$(setting index-url)}
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$index"
fi
cert=${PIP_CERT:-$(setting cert)}
if [ -n "$cert" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
    export SSL_CERT_FILE="$cert"
fi
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
