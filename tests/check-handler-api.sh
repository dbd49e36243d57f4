#!/bin/sh
# docs/handler-api.md is made of the header as it is.
set -eu
source_dir=${WS_SRC_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
"${WS_PYTHON:-python3}" "$source_dir/docs/make-handler-api.py" --check
missing=0
for name in $(grep -o 'websocket_[a-z_]*(' \
    "$source_dir/mod_websocket/mod_websocket.h" | tr -d '(' | sort -u); do
    grep -q "^### .*\`$name\`" "$source_dir/docs/handler-api.md" || {
        echo "docs/handler-api.md says nothing of $name" >&2
        missing=1
    }
done
exit "$missing"
