#!/bin/sh
# Sends a recording as a call: ./call.sh recording.wav
set -eu
daemon=${FAC_URL:-http://127.0.0.1:8765}

call() { curl -fsS -H "Authorization: Bearer ${FAC_TOKEN:-}" "$@"; }

answer=$(call -X POST "$daemon/api/rtp" -d '{"codecs": {"0": "PCMU/8000"}, "metadata": {"queue": "claims"}}')
field() { printf %s "$answer" | python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }
host=$(field '["legs"]["mixed"]["host"]')
port=$(field '["legs"]["mixed"]["port"]')
ffmpeg -v error -nostdin -re -i "$1" -c:a pcm_mulaw -ar 8000 -ac 1 -f rtp "rtp://$host:$port"
call -X DELETE "$daemon/api/rtp/$(field '["call_id"]')"
