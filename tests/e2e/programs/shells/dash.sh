#!/bin/dash
. ./common.sh
mkfifo fifo
sort fifo > sorted &
printf '%s\n' 3 1 2 > fifo
wait
cat sorted
rm fifo
set -- -a -b value rest
while getopts ab: option; do echo "$option ${OPTARG-}"; done
shift $((OPTIND - 1))
echo "$1"
exec cat quoted.txt
