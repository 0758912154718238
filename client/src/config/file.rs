//! One source of settings as a layer of raw values: a TOML file with line numbers, an
//! old `.termite-localrc`, the environment, or the command line.

use super::places::Surroundings;
use super::setting::{Origin, Raw};
use super::{ConfigError, KEYS, text, variable_of};
use std::collections::BTreeMap;
use std::path::Path;
use termite_core::rules::{Rule, Rules, RunMode};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Values by key, and rules in order.
#[derive(Default)]
pub(super) struct Layer {
    pub values: BTreeMap<&'static str, (Raw, Origin)>,
    pub rules: Vec<Rule>,
}

impl Layer {
    /// What the command line says.
    pub(super) fn of_flags(flags: &[(&'static str, String)]) -> Self {
        let values = flags
            .iter()
            .map(|(key, value)| (*key, (Raw::Text(value.clone()), Origin::Flag((*key).to_owned()))));
        Self {
            values: values.collect(),
            rules: Vec::new(),
        }
    }

    /// `TERMITE_<KEY>` of every key.
    pub(super) fn of_environment(around: &Surroundings<'_>) -> Self {
        let mut layer = Self::default();
        for (key, _) in KEYS {
            let name = variable_of(key);
            if let Some(value) = (around.variable)(&name).as_deref().and_then(text) {
                layer.values.insert(key, (Raw::Text(value), Origin::Environment(name)));
            }
        }
        layer
    }

    /// A `.termite-localrc`.
    pub(super) fn of_localrc(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let rules = Rules::parse_localrc(&path.display().to_string(), text)?;
        Ok(Self {
            values: BTreeMap::new(),
            rules,
        })
    }

    /// A TOML file.
    pub(super) fn of_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        let table = DeTable::parse(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            source.complain(at, format!("{}; correct it (TOML)", e.message()))
        })?;
        let mut layer = Self::default();
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            if key.get_ref() == "rule" {
                layer.rules = source.rules(value)?;
                continue;
            }
            let Some((known, _)) = KEYS.iter().find(|(name, _)| name == key.get_ref()) else {
                let names: Vec<_> = KEYS.iter().map(|(name, _)| *name).collect();
                let why = format!(
                    "unknown key `{}`; known are {} and [[rule]]",
                    key.get_ref(),
                    names.join(", ")
                );
                return Err(source.complain(at, why));
            };
            layer.values.insert(
                known,
                (source.raw(value)?, Origin::File(path.to_owned(), source.line(at))),
            );
        }
        Ok(layer)
    }
}

/// A file's name and text, for complaints.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
    }

    fn complain(&self, at: usize, why: String) -> ConfigError {
        ConfigError::Syntax {
            file: self.path.display().to_string(),
            line: self.line(at),
            why,
        }
    }

    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Result<Raw, ConfigError> {
        let wrong = |what: &str| Err(self.complain(value.span().start, what.to_owned()));
        match value.get_ref() {
            DeValue::String(text) => Ok(Raw::Text(text.to_string())),
            DeValue::Boolean(truth) => Ok(Raw::Bool(*truth)),
            DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(Raw::Number(number)),
                Err(_) => wrong("a number must be whole and not negative"),
            },
            DeValue::Array(_) => Ok(Raw::List(self.strings(value)?)),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                wrong("a value is a string, a whole number, true, false or a list of strings")
            }
        }
    }

    fn strings(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, ConfigError> {
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.complain(value.span().start, "write a list of strings".to_owned()));
        };
        let each = items.iter().map(|item| match item.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.complain(item.span().start, "every item of a list must be a string".to_owned())),
        });
        each.collect()
    }

    fn rules(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Rule>, ConfigError> {
        let shape = |at| self.complain(at, "a rule is written as [[rule]] with its keys below".to_owned());
        let DeValue::Array(items) = value.get_ref() else {
            return Err(shape(value.span().start));
        };
        let each = items.iter().map(|item| match item.get_ref() {
            DeValue::Table(table) => self.rule(table, item.span().start),
            _ => Err(shape(item.span().start)),
        });
        each.collect()
    }

    fn rule(&self, table: &DeTable<'_>, at: usize) -> Result<Rule, ConfigError> {
        let (mut pattern, mut names, mut place) = (None, None, None);
        // The table begins at its first key, which says more than the header's line.
        let at = table.iter().map(|(key, _)| key.span().start).min().unwrap_or(at);
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("regex", DeValue::String(text)) => pattern = Some(text.to_string()),
                ("names", _) => names = Some(self.strings(value)?),
                ("run", DeValue::String(word)) => place = Some(self.place(word, value.span().start)?),
                ("regex" | "run", _) => return Err(self.complain(value.span().start, "write a string".to_owned())),
                (other, _) => {
                    let why = format!("unknown key `{other}` in a rule; known are regex, names and run");
                    return Err(self.complain(key.span().start, why));
                }
            }
        }
        let Some(place) = place else {
            return Err(self.complain(at, "a rule needs run = \"local\", \"remote\" or \"driver\"".to_owned()));
        };
        let origin = format!("{}:{}", self.path.display(), self.line(at));
        Ok(Rule::new(pattern.as_deref(), names, place, &origin)?)
    }

    fn place(&self, word: &str, at: usize) -> Result<RunMode, ConfigError> {
        match word {
            "remote" => Ok(RunMode::Remote),
            "local" => Ok(RunMode::Local),
            "driver" => Ok(RunMode::Driver),
            _ => Err(self.complain(at, format!("`{word}` is no place; write local, remote or driver"))),
        }
    }
}
