BEGIN { FS = ":"; while (("sort stones.txt") | getline line > 0) lines[++count] = line }
{ weight[$1] += $2; print $1 > ("awk_" $1 ".txt"); print $2 | "sort -n > awk_sorted.txt" }
END {
	close("sort -n > awk_sorted.txt")
	while ((getline word < "awk_sorted.txt") > 0) print "sorted", word
	for (i = 1; i <= count; i++) print lines[i]
	print weight["stone"], length(weight), ENVIRON["LC_ALL"]
	system("echo from system")
}
