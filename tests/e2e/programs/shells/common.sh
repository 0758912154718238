# What both shells can do.
umask 027
set -u
workdir=$(pwd)
cd ./sub/../sub && [ "$(pwd)" = "$workdir/sub" ] && cd - > /dev/null
echo "in ${workdir##*/}"

# Pipes, and what runs in them.
printf '%s\n' c a b | sort | while read -r word; do echo "<$word>"; done
yes | head -n 3 | wc -l
{ echo out; echo err >&2; } 2>&1 | sed 's/^/both: /'
false | true && echo "the last of a pipe counts"

# Here-documents.
cat <<END
expanded: $(echo "$((6 * 7))") ${UNSET-unset}
END
cat <<'END' > quoted.txt
not expanded: $(nothing) $HOME
END
cat <<-END
	tabs go
	END
sort <<END | uniq -c
b
a
b
END

# Descriptors.
exec 3> third.txt 4< quoted.txt
echo "to the third" >&3
read -r line <&4 && echo "$line"
exec 3>&- 4<&-
cat third.txt
: > empty && [ ! -s empty ] && [ -e empty ] && echo "empty"
(set -C; echo no > empty) 2> /dev/null || echo "not clobbered"
echo one >> many && echo two >> many && wc -l < many

# Jobs in the background.
for n in 1 2 3; do
	(echo "job $n" > "job.$n"; exit "$n") &
	eval "pid$n=\$!"
done
wait "$pid2"; echo "second ended with $?"
wait "$pid3"; echo "third ended with $?"
wait
cat job.1 job.2 job.3
sleep 30 &
kill "$!" && wait "$!" 2> /dev/null; echo "killed: $?"

# Traps, substitutions, functions.
trap 'echo "at the end"; rm -f scratch' EXIT
trap 'echo "signal"' USR1
kill -USR1 $$
echo scratch > scratch
count() { local n=0; for file in "$@"; do n=$((n + 1)); done; echo "$n"; }
count job.* sub/* none*
case $(uname -s) in Linux) echo "linux" ;; *) echo "what?" ;; esac
(cd sub && sh -c 'echo "${PWD##*/}"; exit 4'); echo "status $?"
sh ./child.sh with "two words" < quoted.txt
./child.sh by its first line
command -v sort > /dev/null && type cd > /dev/null && echo "found"
[ -r common.sh ] && [ -x child.sh ] && [ ! -x common.sh ] && [ -d sub ] && [ common.sh -ef ./common.sh ] && echo "tested"
./nothing 2> /dev/null; echo "no such program: $?"
./common.sh 2> /dev/null; echo "not executable: $?"
ls -d su[b] | tr a-z A-Z
echo "$0" | sed 's,.*/,,'
