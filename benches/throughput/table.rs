//! The figures, their bars, the table and the JSON file.

use serde_json::{Map, Value, json};

use crate::Measured;
use crate::rounds::Scale;

/// The measures, in the order in which they are made.
pub(crate) const NAMES: [&str; 8] = [
    "many",
    "hot",
    "alone",
    "recovery",
    "open",
    "catch_up",
    "failing_keys",
    "disk",
];

/// Which side of its bar a value must be on.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// A value that is only told.
    None,
}

/// One value of a measure.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bar: Bar,
}

/// What one measure found: the value that gives it its name, and what else there is to say.
pub(crate) struct Figure {
    pub(crate) main: Part,
    pub(crate) others: Vec<Part>,
    /// What was measured, in words.
    pub(crate) what: String,
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
            Self::None => true,
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::AtLeast(bar) | Self::AtMost(bar) => Some(bar),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bar) => format!(">= {}", number(bar)),
            Self::AtMost(bar) => format!("<= {}", number(bar)),
            Self::None => String::new(),
        }
    }
}

impl Part {
    fn holds(&self) -> bool {
        self.bar.holds(self.value)
    }

    fn verdict(&self) -> &'static str {
        match (self.bar, self.holds()) {
            (Bar::None, _) => "",
            (_, true) => "yes",
            (_, false) => "NO",
        }
    }

    fn json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("value".into(), json!(self.value));
        map.insert("unit".into(), json!(self.unit));
        if let Some(bar) = self.bar.number() {
            map.insert("bar".into(), json!(bar));
            let at_least = matches!(self.bar, Bar::AtLeast(_));
            map.insert(
                "direction".into(),
                json!(if at_least { "at_least" } else { "at_most" }),
            );
            map.insert("holds".into(), json!(self.holds()));
        }
        map
    }
}

impl Figure {
    /// Whether every bar of it holds.
    pub(crate) fn holds(&self) -> bool {
        self.main.holds() && self.others.iter().all(Part::holds)
    }
}

/// A figure as one line.
pub(crate) fn line(figure: &Figure) -> String {
    let main = &figure.main;
    let bar = main.bar.text();
    format!("{} {} (bar {bar})", number(main.value), main.unit)
}

/// All figures as a table.
pub(crate) fn table(figures: &[Figure], scale: &Scale) -> String {
    let mut lines = vec![
        String::new(),
        format!("medians of {} rounds", scale.rounds),
        String::new(),
    ];
    if scale.quick {
        let quick = "A QUICK RUN: it shows that the benchmark runs; the figures say nothing.";
        lines.extend([quick.to_owned(), String::new()]);
    }
    lines.push(row(["figure", "value", "unit", "bar", "holds"]));
    for figure in figures {
        lines.push(part_row(&figure.main, ""));
        lines.extend(figure.others.iter().map(|part| part_row(part, "  ")));
    }
    lines.push(String::new());
    let what = |figure: &Figure| format!("{}: {}", figure.main.name, figure.what);
    lines.extend(figures.iter().map(what));
    lines.push(String::new());
    lines.join("\n")
}

fn part_row(part: &Part, indent: &str) -> String {
    let (name, value, bar) = (
        format!("{indent}{}", part.name),
        number(part.value),
        part.bar.text(),
    );
    row([&name, &value, part.unit, &bar, part.verdict()])
}

fn row([name, value, unit, bar, holds]: [&str; 5]) -> String {
    let line = format!("{name:<28} {value:>12} {unit:<13} {bar:>12}  {holds}");
    line.trim_end().to_owned()
}

/// All figures as JSON, by name.
pub(crate) fn json(figures: &[Figure], scale: &Scale) -> Measured<String> {
    let mut all = Map::new();
    for figure in figures {
        let mut entry = figure.main.json();
        let others = figure.others.iter();
        let others: Map<String, Value> = others
            .map(|part| (part.name.to_owned(), Value::Object(part.json())))
            .collect();
        entry.insert("others".into(), Value::Object(others));
        entry.insert("what".into(), json!(figure.what));
        entry.insert("all_hold".into(), json!(figure.holds()));
        entry.insert("quick".into(), json!(scale.quick));
        all.insert(figure.main.name.to_owned(), Value::Object(entry));
    }
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// A number with about four digits, and thousands set apart.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "none".to_owned();
    }
    if value.abs() < 1_000.0 {
        let digits = match value.abs() {
            small if small == small.trunc() => 0,
            small if small < 0.1 => 4,
            small if small < 10.0 => 2,
            _ => 1,
        };
        return format!("{value:.digits$}");
    }
    let whole = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}
