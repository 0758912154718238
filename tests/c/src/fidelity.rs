//! Commands of everyday use that look closely at the files they work on. Only their names
//! and arguments are here; how they are run and compared is as for the programs.

/// Commands that compare files, or print how many names they have, and look at files of the
/// client's with several: the client runs them (`client/src/commit/links.rs`).
pub const AT_HOME: [&str; 1] = ["find"];

/// A test's name, what it needs beside a shell, and the shell text. Run in a fixture.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "gzip",
        "gzip",
        "gzip -9 -k -v many/n00 big 2>&1; cp -p plain2 own; ln own too; gzip dir/file plain1 own; gzip -l big.gz dir/file.gz; gunzip -c big.gz | cksum; gzip -d dir/file.gz; ls -l dir/file.gz; gzip link; echo $?",
    ),
    (
        "xz",
        "xz",
        "xz -k -v big 2>/dev/null; xz dir/file; cp -p plain1 own; ln own too; xz own; echo $?; xz -t big.xz dir/file.xz && xz -dc big.xz | cksum; unxz dir/file.xz; xz link; echo $?",
    ),
    (
        "bzip2",
        "bzip2",
        "bzip2 -k big; bzip2 dir/file; cp -p plain1 own; ln own too; bzip2 own; echo $?; bzip2 -t big.bz2; bunzip2 -c big.bz2 | cksum; bunzip2 dir/file.bz2; bzip2 link; echo $?",
    ),
    (
        "tar-create",
        "tar",
        "cp -p plain1 own; ln own too; tar --create --format=posix --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime --sort=name --exclude=closed --exclude=noread -f out.tar bin/link dir own too link loop dangling many odd trees && cksum out.tar && tar tvf out.tar",
    ),
    (
        "tar-extract",
        "tar",
        "cp -p plain1 own; ln own too; tar --sort=name -cf out.tar dir own too many trees && mkdir x && tar -xpf out.tar -C x && diff -r --no-dereference dir x/dir && rm out.tar && ls -lR --time-style=+%s x/many | sort | sed 's/^total.*//'",
    ),
    (
        "ls-order",
        "ls",
        "mkdir big-dir && i=0; while [ $i -lt 200 ]; do : > big-dir/name-$i; i=$((i+1)); done; ls big-dir | wc -l; ls -1 big-dir | cksum",
    ),
    (
        "ls-unsorted",
        "ls",
        "ls -U listed | cksum; ls -U listed | head -5; ls -f trees | wc -l",
    ),
    (
        "ls-long",
        "ls",
        "ls -ln --time-style=full-iso dir/file dir/empty link plain1 plain2 many bin/child | sed s/^total.*//; ls -d dir/ */ | sort",
    ),
    (
        "find",
        "find",
        "find dir many trees link loop plain1 ! -type d -printf '%p %y %m %n %s %l %TY-%Tm-%Td %TT\\n' | sort; find . -newer many/n05 -maxdepth 1 | wc -l; find many -name 'n1*' -delete; find trees -empty | sort; cp -p plain1 own; ln own too; find . -samefile own | sort; find -L dirlink -type f | sort",
    ),
    (
        "cp-archive",
        "cp",
        "cp -a dir dir-copy && cp -p plain1 own; ln own too && cp -a own too dir-copy && cp -a many own-many && cp -al own-many many-links && cp --sparse=always big big-copy && cp -p link plain && cp -P link symlink-copy && diff -r --no-dereference dir/sub dir-copy/sub && stat -c '%n %a %s %h %Y' dir-copy/own many-links/n00 plain; stat -c '%n %a %s %h' big-copy",
    ),
    (
        "install",
        "install",
        "install -D -m 750 bin/child inst/usr/bin/child && install -d inst/a/b && install -p -m 600 dir/file inst/a && install -C big inst/a && install -C big inst/a && ls -l --time-style=+%s inst/a/file inst/usr/bin/child | cut -c1-10",
    ),
    (
        "touch",
        "touch",
        "touch -d '2001-02-03 04:05:06.789 UTC' dir/file new link; touch -h -d '2002-01-01 UTC' dangling; touch -r many/n03 many/n04; touch -m -t 200312312359.58 trees/one; stat -c '%n %y' dir/file new many/n04 trees/one; touch missing/x; echo $?",
    ),
    (
        "mv-rm",
        "mv",
        "mv many renamed && mv renamed/n00 . && mv trees/one/a trees/two/z && rm -r trees/three && rm -rf trees/four dangling && rmdir trees/empty && cp -p plain1 own; ln own too; mv own too 2>&1; mv plain2 plain1; ln -f big hard3; ln -sfn trees dirlink; ls -R trees | sort",
    ),
    (
        "sed-in-place",
        "sed",
        "sed -i.bak 's/number/NUMBER/' many/n0*; cat many/n01 many/n01.bak; sed -i -e '1s/.*/through a link/' link; cat link dir/file; ls -l link | cut -c1",
    ),
    (
        "cat-append",
        "cat",
        "cat dir/file many/n* > all; cat dir/file >> all; wc all; cat < big | cksum; cat - dir/file < link; cat closed/file missing; echo $?",
    ),
    (
        "cmp-sort",
        "sort",
        "sort -r -o many/n00 many/n0[1-9]; cat many/n00; sort -T . big | cksum; cmp big many/n01; comm dir/file link; od -c odd/*b* | head; cksum big dir/* 2>&1",
    ),
    (
        "mktemp",
        "mktemp",
        "d=$(mktemp -d ./tmp.XXXXXX) && cp dir/file $d/f && f=$(mktemp -p $d) && cat $d/f > $f && cat $f && rm -r $d; ls -d tmp.* 2>&1; TMPDIR=. mktemp -u | cut -c1-6",
    ),
    (
        "env",
        "env",
        "env -i /bin/sh -c 'cat dir/file trees/two/a/b/leaf; pwd'; env -u PATH /bin/cat link; nice cat plain1; (umask 077; echo x > masked; umask); ulimit -c; exec 3<big; head -c 5 <&3 | cksum",
    ),
    (
        "cc",
        "cc",
        "printf '#include <stdio.h>\\nint main(void){printf(\"%%s\\\\n\", __FILE__);return 0;}\\n' > h.c && cc -O1 -MMD -o h h.c && ./h && cat h.d && cc -c h.c -o h.o && ar rcD libh.a h.o && ar t libh.a && nm libh.a | grep -c main",
    ),
    (
        "static-among",
        "busybox gcc",
        "busybox cp trees/one/a/b/leaf copy.c && gcc -x c -E -P copy.c && echo 'int main(void) { return 3; }' > m.c && busybox cp m.c n.c && rm m.c && gcc n.c -o n && busybox mv n moved && busybox ls -l moved | cut -c1-10; ./moved; echo $?; busybox sh -c 'cat trees/two/a/b/leaf; cp trees/three/a/b/leaf x; gcc n.c -o again; ./again; echo $?; rm x; sed -i s/3/4/ n.c; gcc n.c -static -o still; busybox cp -p still stills; exec ./stills'; echo $?; busybox tar c trees/four | tar t; tar c trees/five | busybox tar x -C odd; busybox find odd -type f | sort; busybox cat missing; echo $?",
    ),
    (
        "busybox-sh",
        "busybox",
        "busybox env -i /bin/busybox sh -c 'for f in many/n0*; do cat $f; done; cd dir/sub && pwd && cat deep/leaf ../../link; ln -s leaf deep/l; readlink deep/l; busybox mkdir -p a/b && busybox mv a deep; ls -R .; test -x ../../bin/child && ../../bin/child 3 | busybox head -n 1; ./missing; echo $?'",
    ),
    (
        "tar-sparse",
        "tar",
        "tar --sparse --format=posix --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime -cf out.tar big plain1 many/n01 && tar xOf out.tar | cksum && rm out.tar; cp --sparse=auto big big-copy; cmp big big-copy; cp --reflink=auto plain2 plain3; cat plain3",
    ),
    (
        "env-cleared",
        "env",
        "env -i /bin/cat trees/one/a/b/leaf; env -i PATH=/bin:/usr/bin env -u LD_PRELOAD sh -c 'cat trees/two/a/b/leaf; LD_PRELOAD= cat trees/three/a/b/leaf; unset LD_PRELOAD; cat trees/four/a/b/leaf'; LD_PRELOAD=lib/libplug.so cat trees/five/a/b/leaf; LD_PRELOAD=lib/missing.so cat trees/six/a/b/leaf 2>&1 | tail -1",
    ),
];
