#!/bin/sh
# A worker of your own in a shell: curl, and python3 -c to read JSON. What it "trains" is awk's.
#
#     HPO_URL=http://127.0.0.1:8000 HPO_TOKEN=… sh worker.sh STUDY
set -eu
study="$HPO_URL/v1/studies/$1"
client="$(hostname)-$$"
answer="$(mktemp)"
trap 'rm -f "$answer"' EXIT

post() {  # PATH BODY: the answer lies in $answer. Waits while the service is away or busy; what is sent again counts once.
    while :; do
        status=$(curl -s -o "$answer" -w '%{http_code}' -H "Authorization: Bearer $HPO_TOKEN" \
            -H 'Content-Type: application/json' -d "$2" "$study/$1") || status=000
        case $status in
            000 | 429 | 503) sleep 1 ;;
            *) return ;;
        esac
    done
}

get() {  # EXPRESSION over the answer a
    python3 -c "import json, sys; a = json.load(open(sys.argv[1])); print($1)" "$answer"
}

while :; do
    post trials:suggest "{\"client_id\": \"$client\"}"
    [ "$status" = 200 ] || { cat "$answer" >&2; exit 1; }
    [ "$(get 'a["done"]')" = False ] || break
    [ "$(get 'len(a["trials"])')" = 1 ] || { sleep 1; continue; }
    number=$(get 'a["trials"][0]["number"]')
    lease=$(get 'a["trials"][0]["lease"]')
    last=$(get 'a["trials"][0]["max_steps"]')
    x=$(get 'a["trials"][0]["params"]["x"]')
    step=0 action=continue
    while [ "$action" = continue ] && [ "$step" -lt "$last" ]; do
        step=$((step + 1))
        loss=$(awk "BEGIN { print ($x - 0.3)^2 + 1 / $step }")
        post "trials/$number:report" "{\"lease\": \"$lease\", \"step\": $step, \"metrics\": {\"loss\": $loss}}"
        case $status in
            200) action=$(get 'a["action"]') ;;
            409) action=lost ;;  # it was silent for too long, and another worker goes on
            *) cat "$answer" >&2; exit 1 ;;
        esac
    done
    echo "trial $number: $action at step $step"
done
