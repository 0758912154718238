//! Rules as tables: a command line, and where it runs.

use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStringExt;

fn decide_with(rules: &Rules, argv: &[&str]) -> Verdict {
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let program = Path::new(&argv[0]).to_owned();
    rules.decide(&Command {
        program: &program,
        argv: &argv,
        cwd: Path::new("/w"),
    })
}

fn letter(verdict: &Verdict) -> char {
    match verdict {
        Verdict::Remote { .. } => 'r',
        Verdict::Local { .. } => 'l',
        Verdict::Driver { .. } => 'd',
    }
}

/// `r`emote, `l`ocal, `d`river; the line is the text of `sh -c`.
const TEXTS: &[(char, &str)] = &[
    ('r', "rsync -a --exclude=a:b x/ /y/c:d"),
    ('l', "rsync -a host:x y"),
    ('l', "rsync x rsync://host/y"),
    ('l', "rsync -a x $TO"),
    ('d', "make"),
    ('d', "/usr/bin/make -C x"),
    ('d', "cd x && make"),
    ('d', "(cd x; ninja -C y)"),
    ('d', "VAR=1 make"),
    ('d', "\"/usr/bin/make\" all"),
    ('d', "'make' all"),
    ('d', "ma\\ke all"),
    ('d', "for d in a b; do make -C $d; done"),
    ('d', "for d in a b; do (cd $d && make) || exit 1; done"),
    ('d', "exec make"),
    ('d', "env A=b make"),
    ('d', "env -i -u X A=b make"),
    ('d', "if test -f x; then make; fi"),
    ('d', "true || make"),
    ('d', "true\nmake"),
    ('d', "true & make"),
    ('d', "echo x | xargs -n 1 make"),
    ('d', "nice -n 5 make"),
    ('d', "timeout 10 make"),
    ('d', "sh -c 'cd x; make'"),
    ('d', "sh -ec \"cd x; make\""),
    ('d', "sh ./configure --prefix=/x"),
    ('d', "./configure"),
    ('d', "./config.status --recheck"),
    ('d', "x=`make -s print`; echo $x"),
    ('d', "x=$(make -s print); echo $x"),
    ('d', "echo \"$(make -s print)\""),
    ('d', ">log 2>&1 make"),
    ('d', "$MAKE -C x"),
    ('d', "${MAKE} -C x"),
    ('d', "case $x in a) make;; esac"),
    ('d', "case $x in a) echo;; make) echo;; esac; make"),
    ('d', "cat <<EOF\nno\nEOF\nmake"),
    ('d', "cmake -S . -B b"),
    ('d', "cmake --build b"),
    ('d', "cmake -E env A=1 make"),
    ('d', "python3 /usr/bin/meson setup b"),
    ('d', "autoreconf -fi"),
    ('d', "cargo build"),
    ('d', "git submodule update && make"),
    ('d', "make CFLAGS=-march=native"),
    ('d', "eval \"make x\""),
    ('d', "{ make; }"),
    ('d', "! make"),
    ('d', "while make; do :; done"),
    ('d', "sudo make install"),
    ('r', "echo making"),
    ('r', "echo make"),
    ('r', "echo 'cd x && make'"),
    ('r', "echo \"; make\""),
    ('r', "gcc -c make.c"),
    ('r', "gcc -c make.c -o make"),
    ('r', "cp x make"),
    ('r', "echo x > make"),
    ('r', "echo x >make; cat <make"),
    ('r', "# make"),
    ('r', "gcc -c x.c # && make"),
    ('r', "for d in make ninja; do echo $d; done"),
    ('r', "case $x in make) echo a;; ninja|cmake) echo b;; esac"),
    ('r', "case $x in (make) echo a;; esac"),
    ('r', "cat <<EOF\nmake\nEOF"),
    ('r', "cat <<-'EOF' >x\n\tmake\n\tEOF\ngcc -c x.c"),
    ('r', "test -f make && echo y"),
    ('r', "[ -x ./make ] || echo y"),
    ('r', "./makedoc && ./premake.sh"),
    ('r', "/bin/sh ../libtool --mode=compile gcc -c x.c"),
    ('r', "cd b && cmake -E cmake_link_script link.txt --verbose=1"),
    ('r', "cmake -E touch x"),
    ('r', "cmake -P script.cmake"),
    ('r', "meson --internal exe --capture x"),
    ('r', ": && /usr/bin/c++ -O2 x.o -o x && :"),
    ('r', "python3 gen.py make"),
    ('r', "python3 -c 'make'"),
    ('r', "echo $((1 + 2))"),
    ('r', "gcc -DGIT=git -c x.c"),
    ('l', "git describe > version"),
    ('l', "echo $(git rev-parse HEAD) > version"),
    ('l', "svn info"),
    ('l', "sudo install x /usr/bin"),
    ('l', "pip install x"),
    ('l', "python3 -m pip install x"),
    ('l', "gcc -march=native -c x.c"),
    ('l', "gcc '-mtune=native' -c x.c"),
    ('l', "rustc -C target-cpu=native x.rs"),
    ('l', "flock lock gcc -c x.c"),
    ('l', "nproc"),
    ('l', "getconf _NPROCESSORS_ONLN"),
    ('l', "ssh host true"),
    ('l', "curl -O http://x"),
    ('l', "docker build ."),
];

#[test]
fn texts_of_sh_by_their_command_words() {
    let rules = Rules::default();
    for (expected, text) in TEXTS {
        let verdict = decide_with(&rules, &["/bin/sh", "-c", text]);
        assert_eq!(letter(&verdict), *expected, "{text}: {verdict:?}");
    }
}

#[test]
fn plain_argument_vectors() {
    let rules = Rules::default();
    let table: &[(char, &[&str])] = &[
        ('d', &["/usr/bin/make", "-j4"]),
        ('d', &["sh", "configure"]),
        ('d', &["bash", "-e", "-o", "pipefail", "-c", "make"]),
        ('l', &["/usr/bin/git", "status"]),
        ('l', &["gcc", "-O2", "-march=native", "x.c"]),
        ('r', &["gcc", "-c", "make.c"]),
        ('r', &["gcc", "make"]),
        ('r', &["sh", "-c", ""]),
        ('r', &["sh"]),
        ('r', &["sh", "build.sh", "make"]),
    ];
    for (expected, argv) in table {
        let verdict = decide_with(&rules, argv);
        assert_eq!(letter(&verdict), *expected, "{argv:?}: {verdict:?}");
    }
}

#[test]
fn the_executed_file_counts_as_much_as_the_zeroth_argument() {
    let rules = Rules::default();
    let argv = [OsString::from("build"), OsString::from("all")];
    let command = Command {
        program: Path::new("/usr/bin/make"),
        argv: &argv,
        cwd: Path::new("/"),
    };
    assert_eq!(letter(&rules.decide(&command)), 'd');
    let argv = [OsString::from("make")];
    let command = Command {
        program: Path::new("/usr/bin/busybox"),
        argv: &argv,
        cwd: Path::new("/"),
    };
    assert_eq!(letter(&rules.decide(&command)), 'd');
    let command = Command {
        program: Path::new("/usr/bin/git"),
        argv: &[],
        cwd: Path::new("/"),
    };
    assert_eq!(letter(&rules.decide(&command)), 'l');
}

#[test]
fn own_rules_come_first_and_the_first_wins() {
    let rules = Rules::new(vec![
        Rule::new(Some("^git archive"), None, RunMode::Remote, ".termite.toml:3").unwrap(),
        Rule::new(None, Some(vec!["protoc".into()]), RunMode::Local, ".termite.toml:7").unwrap(),
        Rule::new(Some("protoc"), None, RunMode::Driver, "late").unwrap(),
    ]);
    let by_rule = Verdict::Remote {
        why: "rule .termite.toml:3".into(),
        whole: true,
    };
    assert_eq!(decide_with(&rules, &["sh", "-c", "git archive HEAD"]), by_rule);
    assert_eq!(decide_with(&rules, &["git", "archive", "HEAD"]), by_rule);
    let why = "rule .termite.toml:7".to_owned();
    assert_eq!(
        decide_with(&rules, &["sh", "-c", "cd x && protoc y"]),
        Verdict::Local { why }
    );
    assert_eq!(letter(&decide_with(&rules, &["echo", "protoc"])), 'd');
    assert_eq!(letter(&decide_with(&rules, &["git", "status"])), 'l');
}

#[test]
fn localrc_of_the_old_termite() {
    let text = r#"# comment
// another
[
  {"Regexp": "^gcc .*-flto", "Local": true, "Recurse": false},
  # inside
  {"Regexp": "wrapper\\.sh", "Local": true, "Recurse": true},
  {"Regexp": "^git"}
]"#;
    let rules = Rules::new(Rules::parse_localrc("/p/.termite-localrc", text).unwrap());
    let why = "rule /p/.termite-localrc entry 1".to_owned();
    assert_eq!(
        decide_with(&rules, &["gcc", "-O2", "-flto", "x.c"]),
        Verdict::Local { why }
    );
    assert_eq!(letter(&decide_with(&rules, &["sh", "wrapper.sh"])), 'd');
    let why = "rule /p/.termite-localrc entry 3".to_owned();
    let remote = Verdict::Remote { why, whole: true };
    assert_eq!(decide_with(&rules, &["git", "log"]), remote);
}

#[test]
fn bad_rules_say_where_and_what_to_do() {
    let error = Rules::parse_localrc("rc", "# c\n[\n{\"Regexp\": 3}\n]")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("rc:3: ") && error.contains("correct it"), "{error}");
    let error = Rules::parse_localrc("rc", "[{\"Regexp\": \"(\"}]")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("rc entry 1: `(` is not a regular expression"),
        "{error}"
    );
    let error = Rules::parse_localrc("rc", "[{\"Regex\": \"x\"}]")
        .unwrap_err()
        .to_string();
    assert!(error.contains("Regex"), "{error}");
    let error = Rule::new(None, None, RunMode::Local, "f:1").unwrap_err().to_string();
    assert!(error.starts_with("f:1: "), "{error}");
}

#[test]
fn joined_lines_quote_what_a_shell_would_split() {
    let words: Vec<Vec<u8>> = [&b"a"[..], b"b c", b"it's", b""].iter().map(|w| w.to_vec()).collect();
    assert_eq!(join(&words), b"a 'b c' 'it'\\''s' ''");
}

#[test]
fn deep_nesting_ends() {
    let deep = "$(".repeat(100_000);
    decide_with(&Rules::default(), &["sh", "-c", &deep]);
    let deep = "env ".repeat(10_000) + "make";
    decide_with(&Rules::default(), &["sh", "-c", &deep]);
}

proptest! {
    #[test]
    fn decide_never_panics(argv in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
        let argv: Vec<OsString> = argv.into_iter().map(OsString::from_vec).collect();
        let program = argv.first().cloned().unwrap_or_default();
        Rules::default().decide(&Command { program: Path::new(&program), argv: &argv, cwd: Path::new("/") });
    }

    #[test]
    fn decide_never_panics_on_shell_like_text(text in "[ a-c$(){}|&;<>'\"`\\\\=\n#!0-2-]{0,60}|(case|in|esac|if|do|make|env|sh -c|eval|<<E|;;| ){0,20}") {
        decide_with(&Rules::default(), &["sh", "-c", &text]);
    }

    #[test]
    fn an_argument_is_never_a_command(word in "[a-z/.]{1,10}") {
        prop_assert_eq!(letter(&decide_with(&Rules::default(), &["echo", &word, "make"])), 'r');
    }
}
