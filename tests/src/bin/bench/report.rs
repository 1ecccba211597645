//! The figures: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// One figure.
#[derive(Clone, Debug, Serialize)]
struct Row {
    bench: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    /// What it should be, in words.
    reach: Option<String>,
    /// Whether it is.
    reached: Option<bool>,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    details: BTreeMap<&'static str, Vec<Value>>,
}

impl Report {
    /// A figure for information.
    pub(crate) fn figure(
        &mut self,
        bench: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) {
        self.rows.push(Row { bench, what: what.into(), value, unit, reach: None, reached: None });
    }

    /// A figure that should be something.
    pub(crate) fn goal(
        &mut self,
        bench: &'static str,
        what: impl Into<String>,
        (value, unit): (f64, &'static str),
        reach: impl Into<String>,
        reached: bool,
    ) {
        let (reach, reached) = (Some(reach.into()), Some(reached));
        self.rows.push(Row { bench, what: what.into(), value, unit, reach, reached });
    }

    /// Everything that stands behind figures, for the JSON.
    pub(crate) fn detail(&mut self, bench: &'static str, value: Value) {
        self.details.entry(bench).or_default().push(value);
    }

    /// Whether the one budget that does not depend on the machine is exceeded.
    pub(crate) fn over_budget(&self) -> bool {
        self.rows.iter().any(|row| row.bench == "size" && row.reached == Some(false))
    }

    /// Writes one file for each benchmark; returns their folder.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let folder = sightline_tests::output_dir("bench")?;
        let mut benches: Vec<&str> = self.rows.iter().map(|row| row.bench).collect();
        benches.dedup();
        for bench in benches {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.bench == bench).collect();
            let all = serde_json::json!({ "figures": rows, "details": self.details.get(bench) });
            std::fs::write(folder.join(format!("{bench}.json")), serde_json::to_string_pretty(&all)?)?;
        }
        Ok(folder)
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!();
        println!("| {:<13} | {:<66} | {:>12} | {:<34} |", "", "what", "measured", "reach");
        println!("| {:-<13} | {:-<66} | {:->12} | {:-<34} |", "", "", "", "");
        for row in &self.rows {
            let number = if row.value.abs() < 10.0 && row.value.fract() != 0.0 {
                format!("{:.2}", row.value)
            } else {
                format!("{:.0}", row.value)
            };
            let mark = match row.reached {
                Some(true) => ": yes",
                Some(false) => ": MISSED",
                None => "",
            };
            let reach = format!("{}{mark}", row.reach.as_deref().unwrap_or_default());
            println!(
                "| {:<13} | {:<66} | {:>12} | {:<34} |",
                row.bench,
                row.what,
                format!("{number} {}", row.unit),
                reach
            );
        }
    }
}
