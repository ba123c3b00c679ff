#!/bin/bash
# Whether this container's process is ready: GET /readyz on its health port. Small, because it runs every few seconds.
exec 3<>"/dev/tcp/127.0.0.1/${GPKI_HEALTH_PORT:?}" || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
IFS= read -r -t 3 status <&3
[[ $status == *" 200 "* ]]
