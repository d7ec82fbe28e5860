//! Medians, the table, the JSON file and the bars.

use std::path::PathBuf;

/// The median of some measurements; the mean of the middle two for an even number, 0 for none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Which side of its bar a value must be on.
#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::AtLeast(bar) | Self::AtMost(bar) => bar,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::AtLeast(_) => ">=",
            Self::AtMost(_) => "<=",
        }
    }
}

/// One figure with its bar.
pub struct Figure {
    pub key: &'static str,
    pub unit: &'static str,
    pub value: f64,
    pub bar: Bar,
    pub note: String,
}

/// What the command line asked for.
#[derive(Default)]
pub struct Options {
    pub json: Option<PathBuf>,
    pub check: bool,
    /// Short rounds, for trying the bench itself; its figures mean nothing.
    pub smoke: bool,
    /// Only figures whose key contains one of these.
    pub only: Vec<String>,
}

impl Options {
    pub fn from_arguments() -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => {
                    let path = arguments.next().ok_or("--json wants a file")?;
                    options.json = Some(path.into());
                }
                "--check" => options.check = true,
                "--smoke" => options.smoke = true,
                "--bench" => {}
                name if !name.starts_with('-') => options.only.push(name.to_owned()),
                other => return Err(format!("unknown argument {other}: --json FILE, --check, --smoke, names")),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| key.contains(only.as_str()))
    }
}

/// Prints the table, writes the file, and says whether every bar holds.
pub fn report(figures: &[Figure], options: &Options) -> std::io::Result<bool> {
    println!("\n{:<12} {:>14} {:<10} {:>12}  {:<5} note", "figure", "value", "unit", "bar", "holds");
    for figure in figures {
        let holds = if figure.bar.holds(figure.value) { "yes" } else { "NO" };
        let bar = format!("{} {}", figure.bar.sign(), figure.bar.number());
        let (key, value, unit) = (figure.key, figure.value, figure.unit);
        println!("{key:<12} {value:>14.2} {unit:<10} {bar:>12}  {holds:<5} {}", figure.note);
    }
    if let Some(path) = &options.json {
        let entry = |figure: &Figure| {
            let value = serde_json::json!({
                "value": figure.value,
                "bar": figure.bar.number(),
                "unit": figure.unit,
                "holds": figure.bar.holds(figure.value),
                "note": figure.note,
            });
            (figure.key.to_owned(), value)
        };
        let all: serde_json::Map<String, serde_json::Value> = figures.iter().map(entry).collect();
        std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(figures.iter().all(|figure| figure.bar.holds(figure.value)))
}
