#!/bin/bash
. ./common.sh
set -o pipefail
false | true || echo "pipefail"

# Process substitution.
diff <(printf '%s\n' a b) <(printf '%s\n' a c)
printf '%s\n' x y z | tee >(wc -l > counted) >(sort -r > reversed) > /dev/null
while [ ! -s counted ] || [ ! -s reversed ]; do sleep 0.01; done
cat counted reversed
while read -r line; do last=$line; done < <(seq 3)
echo "last: $last"

# Arrays, matching, arithmetic.
mapfile -t lines < quoted.txt
echo "${#lines[@]} ${lines[0]:0:3}"
declare -A weight=([stone]=500 [pebble]=3)
echo "${weight[stone]}" $((weight[stone] + weight[pebble]))
[[ "stone 42" =~ ([a-z]+)\ ([0-9]+) ]] && echo "${BASH_REMATCH[2]}"
shopt -s globstar nullglob extglob
echo sub/**/*.txt @(bash|dash).sh none*

# A co-process, a here-string, named descriptors, wait -n.
coproc UPPER { tr a-z A-Z; }
upper=$UPPER_PID
input=${UPPER[1]}
output=${UPPER[0]}
echo "to upper" >&"$input"
exec {input}>&-
cat <&"$output"
wait "$upper"
read -r first rest <<< "first and the rest"
echo "$rest"
exec {fd}<> both
echo "read and write" >&"$fd"
exec {fd}>&-
cat both
(exit 5) & (sleep 0.3; exit 6) &
wait -n; echo "first: $?"
wait -n; echo "second: $?"
printf -v padded '%05d' 42 && echo "$padded"
cat /dev/fd/3 3< quoted.txt
echo "by /dev/stdin" | cat /dev/stdin > /dev/stdout
exec 5< <(echo substituted); cat <&5
time_format=$({ TIMEFORMAT=%R; time true; } 2>&1); [[ $time_format == 0.* ]] && echo "timed"
bash -c 'echo "$BASHPID" > pid; exec sh -c "[ \$\$ = \$(cat pid) ]"' && echo "the same process"
ulimit -n > /dev/null && echo "limits"
