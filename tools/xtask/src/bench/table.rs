//! The table of a bench: one row for each measurement, with what is to be reached, and the
//! machine. Knows numbers; knows nothing of how they came about.

use super::median;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What a figure is to be.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// Known, whatever it is.
    Reported,
}

/// One line of the table.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    measurement: String,
    unit: String,
    /// The median of the samples.
    figure: f64,
    goal: Goal,
    samples: Vec<f64>,
    /// What else belongs to the figure.
    notes: String,
}

impl Row {
    /// A row whose figure is the median of some samples.
    pub(super) fn new(measurement: impl Into<String>, unit: &str, samples: Vec<f64>, goal: Goal) -> Self {
        Self {
            measurement: measurement.into(),
            unit: unit.to_owned(),
            figure: median(samples.iter().copied()),
            goal,
            samples,
            notes: String::new(),
        }
    }

    /// The same with a note.
    pub(super) fn note(self, notes: impl Into<String>) -> Self {
        Self {
            notes: notes.into(),
            ..self
        }
    }

    /// A line of Markdown.
    pub(super) fn markdown(&self) -> String {
        let (goal, reached) = match self.goal {
            Goal::AtMost(most) => (format!("at most {most}"), self.figure <= most),
            Goal::AtLeast(least) => (format!("at least {least}"), self.figure >= least),
            Goal::Reported => ("reported".to_owned(), true),
        };
        let reached = if reached { "" } else { " (not reached)" };
        let spread = self.samples.iter().copied();
        let (least, most) = (
            spread.clone().fold(f64::INFINITY, f64::min),
            spread.fold(f64::NEG_INFINITY, f64::max),
        );
        let range = match self.samples.len() {
            1 => String::new(),
            count => format!(" ({least:.3} to {most:.3}, {count})"),
        };
        let space = if self.unit.is_empty() { "" } else { " " };
        format!(
            "| {} | {:.3}{space}{}{range} | {goal}{reached} | {} |",
            self.measurement, self.figure, self.unit, self.notes
        )
    }
}

/// All rows, and where they were measured.
#[derive(Serialize, Deserialize)]
pub(super) struct Table {
    machine: String,
    rows: Vec<Row>,
}

impl Table {
    /// With no rows yet.
    pub(super) fn of_this_machine() -> Result<Self> {
        Ok(Self {
            machine: machine()?,
            rows: Vec::new(),
        })
    }

    /// As it was written, if that was on a machine like this one.
    pub(super) fn written(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let table: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok((table.machine == machine()?).then_some(table))
    }

    /// Adds rows at the end, or in the places of those that say the same.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            match self.rows.iter_mut().find(|old| old.measurement == row.measurement) {
                Some(old) => *old = row,
                None => self.rows.push(row),
            }
        }
    }

    /// For readers.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\n| measurement | figure (least to most, samples) | to reach | notes |\n| --- | --- | --- | --- |\n",
            self.machine
        );
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", row.markdown());
        }
        text
    }
}

/// Processor, memory, kernel and compiler.
fn machine() -> Result<String> {
    let field = |file: &str, name: &str| -> Result<String> {
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        Ok(line.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned()))
    };
    let kib: u64 = field("/proc/meminfo", "MemTotal")?
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0);
    let gcc = std::process::Command::new("gcc")
        .arg("-dumpfullversion")
        .output()
        .context("gcc")?;
    Ok(format!(
        "{} processors ({}), {} GiB, Linux {}, gcc {}.",
        std::thread::available_parallelism()?.get(),
        field("/proc/cpuinfo", "model name")?,
        kib >> 20,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        String::from_utf8_lossy(&gcc.stdout).trim()
    ))
}
