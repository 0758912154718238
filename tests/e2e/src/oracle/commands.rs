//! The commands of the oracle and the files that each begins with. Knows nothing of how
//! they are watched.

use crate::project::write_all;
use anyhow::Result;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Of its directory.
    pub name: &'static str,
    /// Its words.
    pub argv: &'static [&'static str],
    /// It belongs to the short form.
    short: bool,
}

const fn command(name: &'static str, argv: &'static [&'static str]) -> Command {
    Command {
        name,
        argv,
        short: false,
    }
}

impl Command {
    const fn in_short(mut self) -> Self {
        self.short = true;
        self
    }

    /// Writes what it begins with into an empty directory.
    pub fn lay(&self, dir: &Path) -> Result<()> {
        let files = FILES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        write_all(dir, &files)?;
        for script in ["run.sh", "tree/bin/tool"] {
            fs::set_permissions(dir.join(script), fs::Permissions::from_mode(0o755))?;
        }
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        for (name, _) in FILES {
            fs::File::options()
                .write(true)
                .open(dir.join(name))?
                .set_modified(then)?;
        }
        symlink("a/one.txt", dir.join("tree/link"))?;
        symlink("a", dir.join("tree/dirlink"))?;
        symlink("nowhere", dir.join("tree/dangling"))?;
        Ok(())
    }
}

/// All commands.
pub fn all() -> Vec<Command> {
    COMMANDS.to_vec()
}

/// Those of the short form.
pub fn short() -> Vec<Command> {
    COMMANDS.iter().filter(|command| command.short).copied().collect()
}

const FILES: [(&str, &str); 19] = [
    (
        "main.c",
        "#include <stdio.h>\n#include \"two.h\"\n#include \"inc/deep.h\"\nint main(void) { printf(\"%d\\n\", two() + DEEP); return 0; }\n",
    ),
    ("two.c", "#include \"two.h\"\nint two(void) { return 2; }\n"),
    ("two.h", "int two(void);\n"),
    ("inc/deep.h", "#define DEEP 40\n"),
    (
        "plus.cc",
        "#include <string>\n#include <vector>\nint main() { std::vector<std::string> v{\"a\"}; return v.size() - 1; }\n",
    ),
    ("list.txt", "pear 3\napple 1\nfig 2\napple 1\n"),
    ("new.txt", "pear 3\napple 7\nfig 2\nplum 9\n"),
    (
        "change.patch",
        "--- a/list.txt\n+++ b/list.txt\n@@ -1,4 +1,4 @@\n pear 3\n-apple 1\n+apple 7\n fig 2\n apple 1\n",
    ),
    ("defs.m4", "define(`greet', `hello $1')dnl\n"),
    (
        "text.m4",
        "include(`defs.m4')dnl\ngreet(`world')\nsinclude(`none.m4')dnl\n",
    ),
    (
        "run.sh",
        "#!/bin/sh\nset -e\ncat <<END > here.txt\nfrom $0\nEND\n. ./part.sh\ncat here.txt | tr a-z A-Z\n[ -e none ] || echo none\n",
    ),
    ("part.sh", "part=1\nexport part\n"),
    ("tree/a/one.txt", "one\n"),
    ("tree/a/two.txt", "two\n"),
    ("tree/b/c/three.txt", "three\n"),
    ("tree/bin/tool", "#!/usr/bin/env sh\necho tool \"$@\"\n"),
    (
        "prog.py",
        "import helpme, json, os\nprint(json.dumps(helpme.names('tree')))\nos.mkdir('made')\nos.rename('made', 'moved')\n",
    ),
    (
        "helpme.py",
        "import os\ndef names(top):\n    return sorted(name for _, _, files in os.walk(top) for name in files)\n",
    ),
    (
        "calc.y",
        "%{\nint yylex(void); void yyerror(const char *s);\n%}\n%token N\n%%\ns: N { } | s '+' N { } ;\n%%\n",
    ),
];

const COMMANDS: &[Command] = &[
    // Compilers and binutils.
    command("gcc", &["gcc", "-O1", "-c", "main.c", "-o", "main.o"]).in_short(),
    command("gcc-link", &["gcc", "main.c", "two.c", "-o", "prog"]).in_short(),
    command("gcc-depend", &["gcc", "-MMD", "-MF", "two.d", "-c", "two.c"]),
    command("gcc-pipe", &["gcc", "-pipe", "-g", "-c", "two.c"]),
    command("gcc-save", &["gcc", "-save-temps", "-c", "two.c"]),
    command("gcc-search", &["gcc", "-Inone", "-Iinc", "-isystem", "tree", "-include", "two.h", "-E", "two.c", "-o", "two.i"]),
    command("gcc-fails", &["gcc", "-c", "none.c"]),
    command("gcc-lto", &["gcc", "-flto", "main.c", "two.c", "-o", "prog"]),
    command("gcc-shared", &["gcc", "-shared", "-fPIC", "two.c", "-o", "libtwo.so"]),
    command("g++", &["g++", "-c", "plus.cc", "-o", "plus.o"]),
    command("g++-link", &["sh", "-c", "g++ plus.cc -o plus && ./plus"]),
    command("cpp", &["cpp", "main.c"]),
    command("ar", &["sh", "-c", "gcc -c two.c && ar rcs libtwo.a two.o && ar t libtwo.a"]).in_short(),
    command("ranlib", &["sh", "-c", "gcc -c two.c && ar rcS libtwo.a two.o && ranlib libtwo.a && nm -s libtwo.a"]),
    command("ld", &["sh", "-c", "gcc -c two.c && ld -r two.o -o both.o"]).in_short(),
    command("ld-library", &["sh", "-c", "gcc -c two.c && ar rc libtwo.a two.o && gcc main.c -L. -Lnone -ltwo -o prog && ./prog"]),
    command("nm", &["sh", "-c", "gcc -c two.c && nm two.o"]),
    command("strip", &["sh", "-c", "gcc -g main.c two.c -o prog && strip prog && strip -o other prog"]),
    command("objcopy", &["sh", "-c", "gcc -g -c two.c && objcopy --strip-debug two.o && objcopy two.o copy.o"]),
    command("objdump", &["sh", "-c", "gcc -c two.c && objdump -d two.o > two.dis && readelf -h two.o > two.head && size two.o"]),
    // Text.
    command("sed", &["sed", "-i", "s/apple/APPLE/", "list.txt"]).in_short(),
    command("sed-write", &["sed", "-n", "/pear/w pears.txt", "list.txt"]),
    command("awk", &["awk", "{ n[$1] += $2 } END { for (k in n) print k, n[k] > \"sums.txt\" }", "list.txt"]).in_short(),
    command("awk-getline", &["awk", "BEGIN { while ((getline l < \"list.txt\") > 0) print l; if ((getline l < \"none\") < 0) print \"none\" }"]),
    command("m4", &["m4", "text.m4"]).in_short(),
    command("m4-search", &["m4", "-Inone", "-Itree", "-I.", "text.m4"]),
    command("sort", &["sort", "-u", "list.txt", "-o", "sorted.txt"]),
    command("sort-merge", &["sh", "-c", "sort -S 1k -T . list.txt new.txt > all.txt; sort -m list.txt new.txt | uniq -c > n.txt"]),
    command("grep-r", &["grep", "-rn", "t", "tree"]).in_short(),
    command("grep-none", &["grep", "apple", "list.txt", "none.txt"]),
    command("cut-paste", &["sh", "-c", "cut -d' ' -f1 list.txt > l; cut -d' ' -f2 list.txt > r; paste r l | tee both; comm l r; join l l > j; tr a-z A-Z < l; wc l r; head -1 l; tail -1 r"]),
    command("split", &["sh", "-c", "split -l 1 list.txt part. && cat part.* > again && cmp again list.txt; csplit -s list.txt 2; od -c list.txt | sed 1q"]),
    command("sums", &["sh", "-c", "sha256sum list.txt new.txt > sums && sha256sum -c sums; cksum list.txt; md5sum none"]),
    // Trees.
    command("find", &["find", ".", "-name", "*.txt", "-newer", "two.h", "-o", "-type", "l", "-print"]).in_short(),
    command("find-exec", &["find", "tree", "-type", "f", "-exec", "cat", "{}", "+", "-delete"]),
    command("find-follow", &["find", "-L", "tree", "-type", "d"]),
    command("cp", &["cp", "list.txt", "two.c", "tree/link", "tree/b"]),
    command("cp-a", &["cp", "-a", "tree", "copy"]).in_short(),
    command("cp-over", &["sh", "-c", "cp new.txt list.txt; cp -u new.txt list.txt; cp -l new.txt hard; cp -s list.txt soft; cp none x"]),
    command("mv", &["sh", "-c", "mv list.txt tree/b/ && mv tree moved && mv -n two.c new.txt; mv none x"]).in_short(),
    command("rm-r", &["rm", "-r", "tree"]).in_short(),
    command("rm", &["sh", "-c", "rm list.txt; rm none; rm -f none list.txt; rmdir tree; rmdir none; unlink two.c"]),
    command("install", &["install", "-D", "-m", "755", "run.sh", "out/bin/run"]),
    command("install-d", &["sh", "-c", "install -d out/a/b out/c && install -m 644 two.h two.c out/a && install list.txt out/c/l"]),
    command("mkdir", &["sh", "-c", "mkdir one; mkdir one; mkdir -p one/two/three one/two; mkdir none/x; mkdir list.txt"]),
    command("ln", &["sh", "-c", "ln list.txt hard; ln -s list.txt soft; ln -sf two.c soft; ln -s x soft; ln none y; cat soft hard; readlink soft; realpath tree/dirlink/one.txt none"]),
    command("touch", &["sh", "-c", "touch new.h two.h; touch -c none; touch -r two.c list.txt; touch -d 2001-01-01 tree/link; touch none/x"]),
    command("chmod", &["sh", "-c", "chmod +x list.txt; chmod -R go-w tree; chmod 600 none; truncate -s 3 list.txt; truncate -s 9 fresh; cat list.txt"]),
    command("mktemp", &["sh", "-c", "f=$(mktemp) && d=$(mktemp -d ./lot.XXXXXX) && echo x > $f && mv $f $d/x && cat $d/x && rm -r $d"]),
    command("diff-r", &["sh", "-c", "cp -r tree other; echo more >> other/a/one.txt; rm other/a/two.txt; diff -r tree other; diff -u list.txt new.txt; diff list.txt none; cmp two.c two.h"]).in_short(),
    command("patch", &["patch", "-p1", "-b", "-i", "change.patch"]),
    command("patch-fails", &["sh", "-c", "patch -p1 < change.patch; patch -p1 -N < change.patch; echo $?"]),
    // Archives.
    command("tar", &["tar", "-cf", "tree.tar", "tree"]).in_short(),
    command("tar-x", &["sh", "-c", "tar -cf - tree list.txt | (mkdir out && cd out && tar -xf -) && ls -lR out > listing; rm listing; ls out"]),
    command("tar-z", &["sh", "-c", "tar -czf t.tgz tree && mv tree old && tar -xzf t.tgz && tar -tzf t.tgz && tar -xf none.tar"]),
    command("gzip", &["sh", "-c", "gzip -k list.txt && gzip -t list.txt.gz && gunzip -f list.txt.gz && gzip list.txt && gzip -dc list.txt.gz; gzip none"]),
    command("xz", &["sh", "-c", "xz -k -T1 list.txt && xz -dc list.txt.xz && rm list.txt && xz -d list.txt.xz; bzip2 new.txt && bunzip2 new.txt.bz2"]),
    // Shells.
    command("sh", &["./run.sh"]).in_short(),
    command("sh-cd", &["sh", "-c", "cd tree && (cd b/c && cat three.txt ../../a/one.txt) && cat dirlink/../list.txt; cd dirlink && cat two.txt && cd - >/dev/null && ls"]),
    command("sh-tests", &["sh", "-c", "for f in tree/* none* tree/*/*.txt; do [ -f $f ] && echo file $f; [ -d $f ] && echo dir $f; [ -x $f ] && echo run $f; [ -L $f ] && echo link $f; done; none-such-command; tree/bin/none"]),
    command("sh-loop", &["sh", "-c", "for d in a b; do for f in tree/$d/*; do if [ list.txt -nt $f ]; then :; fi; done; mkdir -p out/$d && cat tree/$d/*.txt > out/$d/all 2>/dev/null; done; ls out/a out/b; while read n v; do echo $v >> out/$n; done < list.txt; cat out/apple"]),
    command("sh-made", &["sh", "-c", "[ -e x ] || echo no; echo 1 > x; [ -e x ] && cat x; rm x; [ -e x ] || echo gone; mkdir d; [ -e d/y ] || echo 2 > d/y; cat d/y; mv d e; cat d/y; cat e/y; rm -r e; cat e/y; mkdir e; cat e/y"]).in_short(),
    command("bash", &["bash", "-c", "set -o pipefail; cat <<< here | tr a-z A-Z > out; cat out; diff <(sort list.txt) <(sort new.txt); shopt -s globstar; echo tree/**/*.txt; source part.sh; echo $part; exec 3> three; echo x >&3; cat three"]).in_short(),
    command("bash-jobs", &["bash", "-c", "(sleep 0.05; echo a > a1) & (echo b > b1) & wait; cat a1 b1; type -P sed; hash -r; cat none 2>/dev/null; tree/bin/tool x"]),
    command("env", &["env", "-i", "PATH=/none:/usr/bin:/bin", "FOO=1", "sh", "-c", "cat list.txt; env -u FOO sed 1q new.txt"]),
    command("xargs", &["sh", "-c", "ls tree/a/*.txt | xargs -n 1 cat; printf 'x\\ny\\n' | xargs -I{} touch made.{}; ls made.*"]),
    command("dd", &["sh", "-c", "dd if=list.txt of=copy bs=4 count=3 2>/dev/null; dd if=new.txt of=copy bs=1 seek=2 conv=notrunc 2>/dev/null; cat copy; stat -c %s copy none"]),
    // Languages.
    command("perl", &["perl", "-MFile::Find", "-e", "find(sub { print \"$File::Find::name\\n\" if -f }, 'tree'); open(my $o, '>', 'out') or die; print $o 1; close $o; rename 'out', 'in'; unlink 'in', 'none'; -e 'none' or print `cat list.txt`;"]),
    command("python", &["python3", "prog.py"]).in_short(),
    command("python-compile", &["python3", "-m", "py_compile", "helpme.py"]),
    command("python-files", &["python3", "-c", "import os, shutil, tempfile, glob, subprocess\nd = tempfile.mkdtemp(dir='.')\nshutil.copytree('tree', d + '/t', symlinks=True)\nprint(sorted(glob.glob('tree/**', recursive=True)))\nopen(d + '/x', 'a').write('x')\nos.replace(d + '/x', 'y')\nprint(os.path.exists('none'), os.path.realpath('tree/dirlink/one.txt')[-10:])\nshutil.rmtree(d)\nprint(subprocess.run(['cat', 'y'], capture_output=True).stdout)"]),
    command("bison", &["bison", "-o", "calc.c", "calc.y"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_as_many_as_was_agreed() {
        let names: BTreeSet<_> = all().iter().map(|command| command.name).collect();
        assert_eq!(names.len(), all().len(), "two commands of one name");
        assert!(
            all().len() >= 60 && short().len() >= 15,
            "{} {}",
            all().len(),
            short().len()
        );
    }
}
