//! Finds the command words of a command line: through `sh -c` texts, subshells, loops,
//! conditions, substitutions and programs that start another (`env`, `nice`, `xargs`).
//!
//! Enough of the shell's grammar to tell a command from an argument. It does not
//! expand, and a text that no shell would take yields some words rather than an error.

/// Texts within texts (`sh -c "sh -c '...'"`, `$(...)`) are followed this deep.
const DEPTH: usize = 24;

/// A command with its arguments, quotes removed, assignments and redirections left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Simple {
    /// At least one word.
    pub words: Vec<Vec<u8>>,
}

impl Simple {
    /// Base name of the command word.
    pub(super) fn name(&self) -> &[u8] {
        self.words.first().map_or(b"", |word| base_name(word))
    }
}

/// Programs that run the rest of their arguments: name, short options that take a value
/// as the next word, operands to skip.
const PREFIXES: &[(&str, &[u8], usize)] = &[
    ("env", b"uC", 0),
    ("exec", b"a", 0),
    ("command", b"", 0),
    ("builtin", b"", 0),
    ("nice", b"n", 0),
    ("ionice", b"cn", 0),
    ("nohup", b"", 0),
    ("setsid", b"", 0),
    ("time", b"fo", 0),
    ("timeout", b"ks", 1),
    ("stdbuf", b"ioe", 0),
    ("taskset", b"", 1),
    ("chrt", b"", 1),
    ("xargs", b"IinLPsEd", 0),
    ("bear", b"o", 0),
    ("scan-build", b"o", 0),
    ("fakeroot", b"ils", 0),
    ("flock", b"wE", 1),
    ("sudo", b"ugCDhpr", 0),
    ("ccache", b"", 0),
    ("busybox", b"", 0),
];

/// Words before a command that leave the next word a command.
const RESERVED: &[&[u8]] = &[
    b"if", b"then", b"else", b"elif", b"fi", b"while", b"until", b"do", b"done", b"!", b"{", b"}",
];

/// What stands behind the last slash.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// Every command in an argument vector. `program` is the base name of the file that is
/// executed, which the zeroth argument need not be.
pub(super) fn commands(program: Vec<u8>, argv: Vec<Vec<u8>>) -> Vec<Simple> {
    let mut found = Vec::new();
    let name = argv.first().map(|word| base_name(word).to_vec());
    let mut words = argv;
    if name.as_deref() != Some(&program) {
        if let Some(zeroth) = words.first() {
            found.push(Simple {
                words: vec![zeroth.clone()],
            });
        }
        words.splice(..words.len().min(1), [program]);
    }
    unwrap(words, DEPTH, &mut found);
    found
}

/// The text of `sh -c TEXT`, if the words are that.
pub(super) fn script_text(words: &[Vec<u8>]) -> Option<Vec<u8>> {
    let name = base_name(words.first()?);
    if !is_shell(name) {
        return None;
    }
    match shell_operand(words)? {
        (true, at) => words.get(at).cloned(),
        (false, _) => None,
    }
}

fn is_shell(name: &[u8]) -> bool {
    matches!(
        name,
        b"sh" | b"bash" | b"dash" | b"ksh" | b"mksh" | b"zsh" | b"ash" | b"yash"
    )
}

/// Adds the command and what it starts, as far as its words tell.
fn unwrap(words: Vec<Vec<u8>>, depth: usize, found: &mut Vec<Simple>) {
    let Some(name) = words.first().map(|word| base_name(word).to_vec()) else {
        return;
    };
    let rest = (depth > 0).then(|| inner(&name, &words)).flatten();
    found.push(Simple { words });
    match rest {
        Some(Inner::Text(text)) => Scanner::new(&text, depth - 1).list(found),
        Some(Inner::Words(words)) => unwrap(words, depth - 1, found),
        None => {}
    }
}

enum Inner {
    Text(Vec<u8>),
    Words(Vec<Vec<u8>>),
}

/// What a command that only starts another one starts: a text for the shell, or words.
fn inner(name: &[u8], words: &[Vec<u8>]) -> Option<Inner> {
    let tail = |at: usize| {
        words
            .get(at..)
            .filter(|w| !w.is_empty())
            .map(|w| Inner::Words(w.to_vec()))
    };
    if is_shell(name) {
        let (is_text, at) = shell_operand(words)?;
        return if is_text {
            words.get(at).cloned().map(Inner::Text)
        } else {
            tail(at)
        };
    }
    if name == b"eval" {
        return Some(Inner::Text(words[1..].join(&b' ')));
    }
    if name.starts_with(b"python") || name == b"perl" {
        return script_operand(words).and_then(tail);
    }
    if name == b"cmake" && words.get(1).is_some_and(|w| w == b"-E") {
        return match words.get(2).map(Vec::as_slice) {
            Some(b"env") => tail(after_options(words, 3, b"", 0)),
            Some(b"time") => tail(3),
            _ => None,
        };
    }
    let (_, valued, operands) = PREFIXES.iter().find(|(prefix, ..)| prefix.as_bytes() == name)?;
    tail(after_options(words, 1, valued, *operands))
}

/// Index of a shell's first operand, and whether it is a text (`-c`).
fn shell_operand(words: &[Vec<u8>]) -> Option<(bool, usize)> {
    let mut is_text = false;
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.as_slice() {
            b"--" | b"-" => return Some((is_text, at + 1)),
            [b'-', b'-', ..] => {}
            [sign @ (b'-' | b'+'), letters @ ..] => {
                is_text |= *sign == b'-' && letters.contains(&b'c');
                at += usize::from(letters.contains(&b'o'));
            }
            _ => return Some((is_text, at)),
        }
        at += 1;
    }
    None
}

/// Index of the script (or of the module's name behind `-m`) of an interpreter.
fn script_operand(words: &[Vec<u8>]) -> Option<usize> {
    for (at, word) in words.iter().enumerate().skip(1) {
        match word.as_slice() {
            b"-m" => return Some(at + 1),
            b"-c" | b"-e" | b"-" => return None,
            [b'-', ..] => {}
            _ => return Some(at),
        }
    }
    None
}

/// Index of the first word that is no option, no option's value, no assignment and
/// none of the `operands` to skip.
fn after_options(words: &[Vec<u8>], from: usize, valued: &[u8], mut operands: usize) -> usize {
    let mut at = from;
    while let Some(word) = words.get(at) {
        match word.as_slice() {
            b"--" if operands == 0 => return at + 1,
            [b'-', letter] if valued.contains(letter) => at += 1,
            [b'-', _, ..] => {}
            word if is_assignment(word) => {}
            _ if operands > 0 => operands -= 1,
            _ => return at,
        }
        at += 1;
    }
    at
}

fn is_assignment(word: &[u8]) -> bool {
    let Some(end) = word.iter().position(|b| *b == b'=') else {
        return false;
    };
    let name = word[..end].strip_suffix(b"+").unwrap_or(&word[..end]);
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// Reads one text from left to right.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// Delimiters of here-documents whose bodies begin at the next line.
    heredocs: Vec<Vec<u8>>,
}

/// Where the scanner stands in `case` constructs, innermost last.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Case {
    /// The word and `in` come next.
    Head,
    /// Patterns, up to `)`.
    Patterns,
    /// The commands of one branch, up to `;;`.
    Branch,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8], depth: usize) -> Self {
        Self {
            text,
            at: 0,
            depth,
            heredocs: Vec::new(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Commands up to the end of the text, or up to the `)` that has no partner in it.
    fn list(&mut self, found: &mut Vec<Simple>) {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut cases: Vec<Case> = Vec::new();
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            let in_patterns = cases.last() == Some(&Case::Patterns);
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.text.get(self.at + 1) == Some(&b'\n') => self.at += 2,
                b'#' => self.skip_line(),
                b'<' | b'>' => self.redirection(found),
                b'(' if in_patterns => self.at += 1,
                b'|' if in_patterns => self.at += 1,
                b'\n' | b';' | b'&' | b'|' | b'(' | b')' => {
                    self.at += 1;
                    self.finish(&mut words, found);
                    match byte {
                        b'\n' => self.skip_heredocs(),
                        b';' if self.eat(b';') => replace_last(&mut cases, Case::Branch, Case::Patterns),
                        b'(' => open += 1,
                        b')' if in_patterns => replace_last(&mut cases, Case::Patterns, Case::Branch),
                        b')' if open == 0 => return,
                        b')' => open -= 1,
                        _ => {}
                    }
                }
                _ => {
                    let word = self.word(found);
                    self.take(word, &mut words, &mut cases);
                }
            }
        }
        self.finish(&mut words, found);
    }

    /// Puts a word where it belongs: to the command, to a `case`, or nowhere.
    fn take(&mut self, word: Vec<u8>, words: &mut Vec<Vec<u8>>, cases: &mut Vec<Case>) {
        match cases.last() {
            Some(Case::Head) => {
                if word == b"in" {
                    replace_last(cases, Case::Head, Case::Patterns);
                }
                return;
            }
            Some(Case::Patterns) => {
                if word == b"esac" {
                    cases.pop();
                }
                return;
            }
            Some(Case::Branch) if words.is_empty() && word == b"esac" => {
                cases.pop();
                return;
            }
            _ => {}
        }
        let is_number_of_redirection =
            matches!(self.peek(), Some(b'<' | b'>')) && word.iter().all(u8::is_ascii_digit) && !word.is_empty();
        if is_number_of_redirection {
            return;
        }
        if words.is_empty() {
            if word == b"case" {
                cases.push(Case::Head);
                return;
            }
            if is_assignment(&word) || RESERVED.contains(&word.as_slice()) {
                return;
            }
        }
        words.push(word);
    }

    fn finish(&self, words: &mut Vec<Vec<u8>>, found: &mut Vec<Simple>) {
        if !words.is_empty() {
            unwrap(std::mem::take(words), self.depth, found);
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    fn skip_heredocs(&mut self) {
        for delimiter in std::mem::take(&mut self.heredocs) {
            while self.at < self.text.len() {
                let start = self.at;
                self.skip_line();
                let line = &self.text[start..self.at];
                self.at = (self.at + 1).min(self.text.len());
                let tabs = line.iter().take_while(|b| **b == b'\t').count();
                if line[tabs..] == delimiter {
                    break;
                }
            }
        }
    }

    /// At `<` or `>`: skips the operator and its word.
    fn redirection(&mut self, found: &mut Vec<Simple>) {
        let start = self.at;
        while matches!(self.peek(), Some(b'<' | b'>')) {
            self.at += 1;
        }
        let operator = &self.text[start..self.at];
        if operator.len() == 1 && self.eat(b'(') {
            self.nested(found);
            return;
        }
        while matches!(self.peek(), Some(b'&' | b'|' | b'-')) {
            self.at += 1;
        }
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if !matches!(
            self.peek(),
            None | Some(b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
        ) {
            let word = self.word(found);
            if operator == b"<<" {
                self.heredocs.push(word);
            }
        }
    }

    /// Behind `(` of a substitution: its commands, and its `)`.
    fn nested(&mut self, found: &mut Vec<Simple>) {
        let mut inner = Scanner {
            text: self.text,
            at: self.at,
            depth: self.depth.saturating_sub(1),
            heredocs: Vec::new(),
        };
        if self.depth > 0 {
            inner.list(found);
            self.at = inner.at;
        } else {
            self.at = self.text.len();
        }
    }

    /// One word without its quotes; substitutions in it are read as commands.
    fn word(&mut self, found: &mut Vec<Simple>) -> Vec<u8> {
        let mut word = Vec::new();
        let mut quoted = false;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' if !quoted => break,
                b'"' => {
                    self.at += 1;
                    quoted = !quoted;
                }
                b'\'' if !quoted => {
                    self.at += 1;
                    let end = self.text[self.at..].iter().position(|b| *b == b'\'');
                    let end = end.map_or(self.text.len(), |len| self.at + len);
                    word.extend_from_slice(&self.text[self.at..end]);
                    self.at = (end + 1).min(self.text.len());
                }
                b'\\' => {
                    self.at += 1;
                    if let Some(next) = self.peek() {
                        self.at += 1;
                        if next != b'\n' {
                            word.push(next);
                        }
                    }
                }
                b'`' => self.backquotes(found),
                b'$' if self.text.get(self.at + 1) == Some(&b'(') => {
                    self.at += 2;
                    word.extend_from_slice(b"$()");
                    self.nested(found);
                }
                b'$' if self.text.get(self.at + 1) == Some(&b'{') => {
                    let end = self.text[self.at..].iter().position(|b| *b == b'}');
                    let end = end.map_or(self.text.len(), |len| self.at + len + 1);
                    word.extend_from_slice(&self.text[self.at..end]);
                    self.at = end;
                }
                _ => {
                    word.push(byte);
                    self.at += 1;
                }
            }
        }
        word
    }

    fn backquotes(&mut self, found: &mut Vec<Simple>) {
        self.at += 1;
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'`' => break,
                b'\\' if matches!(self.peek(), Some(b'`' | b'\\' | b'$')) => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                _ => text.push(byte),
            }
        }
        if self.depth > 0 {
            Scanner::new(&text, self.depth - 1).list(found);
        }
    }
}

/// The innermost `case` goes from one stage to the next.
fn replace_last(cases: &mut [Case], from: Case, to: Case) {
    if let Some(last) = cases.last_mut().filter(|case| **case == from) {
        *last = to;
    }
}
